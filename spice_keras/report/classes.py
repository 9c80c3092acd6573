"""Which classes the clusters hold: the labels of an evaluation, their figure and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spice_keras.report.chart import MAX_LABELS, Caption, Chart
from spice_keras.report.clustering import Noun, check_length
from spice_keras.report.formatting import count, percent, quantity
from spice_keras.report.palette import INK, MUTED

MAX_CELL_NUMBERS = 20
MAX_NAME_LENGTH = 20


@dataclass(frozen=True, eq=False)
class Classes:
    """The labels of the items, used to judge the clusters and for nothing else; C classes.

    Attributes:
        labels: [N] class of each item, -1 where unknown.
        names: [C] name of each class.
        confusion: [C, K] number of items of each class in each cluster.
        matching: cluster to class, one to one, so that most items agree (the Hungarian method).
    """

    labels: npt.NDArray[np.integer[Any]]
    names: Sequence[str]
    confusion: npt.NDArray[np.int64]
    matching: Mapping[int, int]

    def __post_init__(self) -> None:
        """Refuses names of other classes.

        Raises:
            ValueError: `names` and `confusion` have different numbers of classes.
        """
        check_length("names", self.names, len(self.confusion))

    @property
    def num_matched(self) -> int:
        """Items whose cluster is matched with their class."""
        return sum(int(self.confusion[label, cluster]) for cluster, label in self.matching.items())


def confusion_chart(classes: Classes, noun: Noun) -> Chart:
    """Draws which classes every cluster holds.

    Args:
        classes: the labels.
        noun: what one item is called.

    Returns:
        The figure "confusion" with its caption.
    """
    total = int(classes.confusion.sum())
    matched = (
        "Each class is matched with one cluster so that most labels agree (the Hungarian method), "
        f"and the pairs lie on the diagonal: {count(classes.num_matched)} of "
        f"{quantity(total, noun)} ({percent(classes.num_matched / max(total, 1))})."
    )
    text = (
        f"{matched} A dark cell off the diagonal is a class that went into the cluster of another."
    )
    caption = Caption(
        "Classes and clusters", text, f"Heat map of classes against clusters. {matched}"
    )
    figure = confusion_figure(classes.confusion, classes.names, classes.matching)
    return Chart("confusion", "classes", caption, figure, keeps_paper=True)


def matched_order(
    confusion: npt.NDArray[np.int64], matching: Mapping[int, int]
) -> npt.NDArray[np.int64]:
    """Orders the clusters so that matched pairs lie on the diagonal.

    Args:
        confusion: [C, K] items of each class in each cluster.
        matching: cluster to class, as in `Classes`.

    Returns:
        [K] clusters: the matched ones by class, then the others by their largest class.
    """
    num_classes, num_clusters = confusion.shape
    largest = confusion.argmax(axis=0) if num_classes else np.zeros(num_clusters, dtype=np.int64)
    keys = [
        (0, matching[cluster]) if cluster in matching else (1, int(largest[cluster]))
        for cluster in range(num_clusters)
    ]
    return np.asarray(sorted(range(num_clusters), key=lambda cluster: keys[cluster]), np.int64)


def confusion_figure(
    confusion: npt.NDArray[np.int64],
    class_names: Sequence[str],
    matching: Mapping[int, int],
) -> Figure:
    """Draws which classes every cluster holds, matched pairs on the diagonal.

    Args:
        confusion: [C, K] items of each class in each cluster.
        class_names: [C] names of the classes.
        matching: cluster to class, as in `Classes`.

    Returns:
        A heat map whose colour is the share of the class; cells hold counts where they fit.
    """
    order = matched_order(confusion, matching)
    counts = confusion[:, order]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    num_classes, num_clusters = counts.shape
    height = float(np.clip(1.6 + 0.36 * num_classes, 3.4, 8.0))
    figure = Figure(figsize=(9.0, height), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xlabel("cluster", color=INK)
    axes.set_ylabel("class", color=INK)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    _label_ticks(axes, class_names, order)
    if max(num_classes, num_clusters) <= MAX_CELL_NUMBERS:
        _label_cells(axes, counts, shares)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("share of the class", color=MUTED, fontsize=8)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=2)
    bar.outline.set_visible(False)
    return figure


def _label_ticks(axes: Axes, names: Sequence[str], order: npt.NDArray[np.int64]) -> None:
    """Names rows and columns where they can be read, none of them otherwise."""
    rows = range(len(names)) if len(names) <= MAX_LABELS else ()
    columns = range(len(order)) if len(order) <= MAX_LABELS else ()
    # A class called "$x^" is a name, not a formula: mathtext would refuse to draw it.
    plain: dict[str, Any] = {"parse_math": False}
    axes.set_yticks(list(rows), [shortened(names[row]) for row in rows], **plain)
    axes.set_xticks(list(columns), [str(order[column]) for column in columns], **plain)


def _label_cells(
    axes: Axes, counts: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> None:
    """Writes the count into every cell that is not empty."""
    for row, column in np.argwhere(counts > 0):
        color = "white" if shares[row, column] > 0.55 else INK
        text = f"{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)


def shortened(name: str) -> str:
    """Cuts a name to what fits beside an axis."""
    # A file name may hold bytes that are not UTF-8, which the font engine refuses.
    text = " ".join(str(name).encode("utf-8", "backslashreplace").decode("utf-8").split())
    return (
        text
        if len(text) <= MAX_NAME_LENGTH
        else text[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )

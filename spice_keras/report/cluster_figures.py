"""Figures of the clusters: how large they are, and which classes they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from spice_keras.report.palette import ACCENT, GRID, INK, MUTED, PALE, WARNING

MAX_LABELS = 40
MAX_CELL_NUMBERS = 20
MAX_NAME_LENGTH = 20


def plain_axes(axes: Axes) -> None:
    """Leaves an axes with two thin spines and muted ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.tick_params(colors=MUTED, labelsize=9, length=3)
    axes.set_axisbelow(True)


def cluster_sizes_figure(sizes: npt.ArrayLike, reliable: npt.ArrayLike) -> Figure:
    """Draws the size of every cluster, its reliable members darker, beside an equal share.

    Args:
        sizes: [K] members of each cluster.
        reliable: [K] reliable ones among them.

    Returns:
        A bar chart; empty clusters are marked where labels fit. Beside more bars than can be
        labelled, a histogram of the sizes.
    """
    totals, certain = np.asarray(sizes, dtype=np.int64), np.asarray(reliable, dtype=np.int64)
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    many = len(totals) > MAX_LABELS
    axes, *beside = figure.subplots(1, 1 + many, squeeze=False, width_ratios=[2, 1][: 1 + many])[0]
    plain_axes(axes)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    positions = np.arange(len(totals))
    axes.bar(positions, totals, width=0.78, color="#bfd3f7", label="all members")
    axes.bar(positions, certain, width=0.78, color=ACCENT, label="reliable members")
    if len(totals):
        share = totals.sum() / len(totals)
        axes.axhline(share, color=INK, linewidth=1, linestyle="--", label=f"equal share: {share:g}")
    if not many:
        axes.set_xticks(positions)
        _label_bars(axes, totals)
    for histogram in beside:
        _draw_histogram(histogram, totals)
    axes.set_xlim(-0.7, max(len(totals), 1) - 0.3)
    axes.set_ylim(0, max(int(totals.max(initial=0)), 1) * 1.12)
    axes.set_xlabel("cluster", color=INK)
    axes.set_ylabel("members", color=INK)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_histogram(axes: Axes, totals: npt.NDArray[np.int64]) -> None:
    """Draws how many clusters have which size."""
    plain_axes(axes)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.hist(totals, bins=20, range=(0, max(int(totals.max(initial=0)), 1)), color="#bfd3f7")
    axes.axvline(totals.mean(), color=INK, linewidth=1, linestyle="--")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("members", color=INK)
    axes.set_ylabel("clusters", color=INK)


def reliable_share_figure(sizes: npt.ArrayLike, reliable: npt.ArrayLike) -> Figure:
    """Draws the share of reliable members of every cluster beside the share of all.

    Args:
        sizes: [K] members of each cluster.
        reliable: [K] reliable ones among them.

    Returns:
        A bar chart in percent; an empty cluster has no bar. SPICE (arXiv 2103.09382) Sec. 3.3.
    """
    totals, certain = np.asarray(sizes, dtype=np.int64), np.asarray(reliable, dtype=np.int64)
    shares = 100 * certain / np.maximum(totals, 1)
    overall = 100 * certain.sum() / max(int(totals.sum()), 1)
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    axes = figure.add_subplot()
    plain_axes(axes)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    positions = np.arange(len(totals))
    axes.bar(positions, np.where(totals > 0, 100, 0), width=0.78, color="#f1f3f6")
    axes.bar(positions, shares, width=0.78, color=ACCENT)
    axes.axhline(
        overall, color=INK, linewidth=1, linestyle="--", label=f"all clusters: {overall:.0f} %"
    )
    if len(totals) <= MAX_LABELS:
        axes.set_xticks(positions)
        texts = [
            f"{share:.0f}" if total else "" for share, total in zip(shares, totals, strict=True)
        ]
        _write_above(axes, shares, texts, MUTED)
    axes.set_xlim(-0.7, max(len(totals), 1) - 0.3)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    axes.set_xlabel("cluster", color=INK)
    axes.set_ylabel("reliable members, %", color=INK)
    figure.legend(loc="outside upper right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _label_bars(axes: Axes, totals: npt.NDArray[np.int64]) -> None:
    """Writes the size above every bar, and 'empty' where there is no bar."""
    empty = totals == 0
    sizes = [f"{total:,}" if total else "" for total in totals]
    _write_above(axes, totals, sizes, MUTED)
    _write_above(axes, totals, ["empty" if none else "" for none in empty], WARNING)


def _write_above(axes: Axes, heights: npt.NDArray[Any], texts: Sequence[str], color: str) -> None:
    """Writes a text above each bar that has one."""
    for position, (height, text) in enumerate(zip(heights, texts, strict=True)):
        if text:
            axes.annotate(
                text,
                (position, float(height)),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                color=color,
                fontsize=8 if len(texts) <= 20 else 6.5,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )


def matched_order(
    confusion: npt.NDArray[np.int64], matching: Mapping[int, int] | None
) -> npt.NDArray[np.int64]:
    """Orders the clusters so that matched pairs lie on the diagonal.

    Args:
        confusion: [C, K] items of each class in each cluster.
        matching: cluster to class after Hungarian matching; None orders by the largest class.

    Returns:
        [K] clusters: the matched ones by class, then the others by their largest class.
    """
    num_classes, num_clusters = confusion.shape
    largest = confusion.argmax(axis=0) if num_classes else np.zeros(num_clusters, dtype=np.int64)
    matched = {} if matching is None else dict(matching)
    keys = [
        (0, matched[cluster]) if cluster in matched else (1, int(largest[cluster]))
        for cluster in range(num_clusters)
    ]
    return np.asarray(sorted(range(num_clusters), key=lambda cluster: keys[cluster]), np.int64)


def confusion_figure(
    confusion: npt.NDArray[np.int64],
    class_names: Sequence[str] | None = None,
    matching: Mapping[int, int] | None = None,
) -> Figure:
    """Draws which classes every cluster holds, matched pairs on the diagonal.

    Args:
        confusion: [C, K] items of each class in each cluster.
        class_names: [C] names of the classes, numbers where None.
        matching: cluster to class after Hungarian matching.

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
    _label_ticks(axes, class_names, order, num_classes)
    if max(num_classes, num_clusters) <= MAX_CELL_NUMBERS:
        _label_cells(axes, counts, shares)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("share of the class", color=MUTED, fontsize=8)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=2)
    bar.outline.set_visible(False)
    return figure


def _label_ticks(
    axes: Axes,
    class_names: Sequence[str] | None,
    order: npt.NDArray[np.int64],
    num_classes: int,
) -> None:
    """Names rows and columns where they can be read, none of them otherwise."""
    names = [str(index) for index in range(num_classes)] if class_names is None else class_names
    rows = range(num_classes) if num_classes <= MAX_LABELS else ()
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

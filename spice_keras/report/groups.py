"""How many groups there are, and how they join: sentences, a plot in plain text, figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spice_keras.groups.changes import Changes
from spice_keras.groups.hierarchy import Hierarchy
from spice_keras.report.chart import Caption, Chart, plain_axes
from spice_keras.report.formatting import count, decimal, quantity, shortened_middle
from spice_keras.report.palette import ACCENT, CURVES, INK, MUTED, PALE

if TYPE_CHECKING:  # TensorFlow comes with it
    from spice_keras.groups.suggest import GroupCurves, GroupSuggestion

_WIDTH, _SCALE = 80, 28
_MOST_CHANGES = 6
# Name in the text plot, and in the figure.
_SHOWN = {
    "score": ("score", "score"),
    "modularity": ("modul.", "modularity"),
    "relative": ("of max", "modularity over its largest value"),
    "stability": ("halves", "agreement of two halves"),
    "silhouette": ("silh.", "silhouette"),
    "coding_length": ("bits", "bits for each link"),
}


def suggestion_sentences(found: GroupSuggestion, noun: str = "item") -> list[str]:
    """Say how many groups there are: the number, what is as good, what is next and what differs.

    Args:
        found: The suggestion.
        noun: What one item is called.

    Returns:
        Sentences, the answer first.
    """
    low, high = found.interval
    if low == high:
        interval = f"No other number between {_ends(found.curves)} explains the data as well"
    else:
        interval = f"Any number from {low} to {high} explains the data about as well"
    if found.unclear is None:
        answer = f"About {found.num_clusters} groups. {interval}"
    else:
        answer = (
            f"There is no clear number of groups: {found.unclear}. {interval}; if you need one, "
            f"take {found.num_clusters}"
        )
    return [
        f"{answer}. The second best is {found.second}.",
        *change_sentences(found.changes, noun),
    ]


def _ends(curves: GroupCurves) -> str:
    return f"{curves.num_clusters[0]} and {curves.num_clusters[-1]}"


def change_sentences(changes: Changes, noun: str = "item") -> list[str]:
    """Say which clusters split from the coarser clustering to the finer.

    Args:
        changes: The changes.
        noun: What one item is called.

    Returns:
        One sentence for each cluster that splits or dissolves, and one for the items that move
        otherwise.
    """
    said = []
    for split in changes.splits:
        parts = [f"{part.cluster} ({count(part.num_items)})" for part in split.parts]
        said.append(
            f"Cluster {split.cluster} ({quantity(split.num_items, noun)}) splits into "
            f"{', '.join(parts[:-1])} and {parts[-1]}."
        )
    said += [f"Cluster {cluster} is shared out among others." for cluster in changes.dissolved]
    if len(said) > _MOST_CHANGES:
        said = [*said[:_MOST_CHANGES], f"{len(said) - _MOST_CHANGES} more clusters change."]
    if changes.moved_items:
        moved = quantity(changes.moved_items, noun)
        said.append(f"{moved} would change place beside that.")
    if said:
        said[0] = f"From {changes.coarse} to {changes.fine} clusters: {said[0]}"
    return said


def curve_lines(curves: GroupCurves, best: int, interval: tuple[int, int]) -> list[str]:
    """Draw the curves in plain text, at most 80 columns wide.

    Args:
        curves: What speaks for each number of clusters.
        best: The recommended number, marked by `>`.
        interval: Smallest and largest number that are as good, marked by `+`.

    Returns:
        A header and a line for each number; a dot stands for its score.
    """
    names = [name for name in _SHOWN if name != "score"]
    header = "".join(f"{_SHOWN[name][0]:>7}" for name in names)
    lowest, largest = float(curves.score.min()), float(curves.score.max())
    ends = f"{lowest:.2f}{largest:>{_SCALE - 4}.2f}"
    lines = [f"    K  score  {ends} {header}"]
    for place, number in enumerate(curves.num_clusters.tolist()):
        inside = interval[0] <= number <= interval[1]
        mark = ">" if number == best else "+" if inside else " "
        score = float(curves.score[place])
        height = (score - lowest) / max(largest - lowest, 1e-9)
        dot = "." * round((_SCALE - 1) * height) + "o"
        figures = "".join(f"{_short(getattr(curves, name)[place]):>7}" for name in names)
        lines.append(f"{mark} {number:>3}  {score:.3f}  {dot:<{_SCALE}} {figures}")
    return lines


def _short(value: float) -> str:
    return decimal(value, 2 if value >= 10.0 else 3)


def groups_chart(found: GroupSuggestion) -> Chart:
    """Draw the curves, with the recommended number and the interval.

    Args:
        found: The suggestion.

    Returns:
        The figure "groups".
    """
    curves = found.curves
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    panels: tuple[tuple[str, ...], ...] = (
        ("score", "modularity", "relative"), ("stability", "silhouette"), ("coding_length",)
    )  # fmt: skip
    for one, panel in zip(axes, panels, strict=True):
        plain_axes(one)
        one.axvspan(*_widened(found.interval), color=PALE, alpha=0.5, linewidth=0)
        one.axvline(found.num_clusters, color=INK, linewidth=1.0, linestyle="--")
        for name, color in zip(panel, CURVES, strict=False):
            one.plot(
                curves.num_clusters,
                getattr(curves, name),
                color=ACCENT if name == "score" else color if panel[0] != "score" else MUTED,
                linestyle=":" if name == "relative" else "-",
                marker="o",
                markersize=3.0,
                label=_SHOWN[name][1],
            )
        one.legend(fontsize=8, frameon=False, loc="best", labelcolor=INK)
    axes[-1].set_xlabel("number of clusters", color=MUTED, fontsize=9)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=15))
    return Chart("groups", "groups", _caption(found), figure)


def _widened(interval: tuple[int, int]) -> tuple[float, float]:
    return interval[0] - 0.3, interval[1] + 0.3


def _caption(found: GroupSuggestion) -> Caption:
    low, high = found.interval
    text = (
        f"{suggestion_sentences(found)[0]} The score is the modularity of the neighbour graph "
        "(links inside clusters, beyond chance) times the square of its share of the largest value "
        "that so many clusters can have. Shaded: numbers that explain the data about as well."
    )
    alternative = (
        f"Curves over {_ends(found.curves)} clusters; the score is largest at "
        f"{found.num_clusters}, and about as large from {low} to {high}."
    )
    return Caption("How many groups", text, alternative)


def hierarchy_lines(tree: Hierarchy, noun: str = "item") -> list[str]:
    """List the merges in plain text, at most 80 columns wide.

    Args:
        tree: The merge order.
        noun: What one item is called.

    Returns:
        A header, and a line for each merge: how many groups are left, and what was joined.
    """
    lines = ["left  links x chance  joined"]
    names = {cluster: str(cluster) for cluster in range(len(tree.sizes))}
    for number, merge in enumerate(tree.merges):
        first, second = names[merge.first], names[merge.second]
        names[len(tree.sizes) + number] = f"{first} {second}"
        left = tree.num_clusters - number - 1
        items = f"  ({quantity(merge.num_items, noun)})"
        joined = shortened_middle(f"{first} + {second}", _WIDTH - 22 - len(items))
        lines.append(f"{left:>4}  {merge.lift:>14.2f}  {joined}{items}")
    return lines


def hierarchy_chart(tree: Hierarchy, names: Sequence[str] | None = None) -> Chart:
    """Draw which clusters merge, the most closely linked first.

    Args:
        tree: The merge order, of at least two clusters.
        names: Of the clusters, [K]; None for their numbers.

    Returns:
        The figure "hierarchy".
    """
    order = tree.leaf_order()
    figure = Figure(figsize=(9.0, max(2.4, 0.6 + 0.24 * len(order))), layout="constrained")
    axes = figure.subplots()
    plain_axes(axes, grid="x")
    places = {cluster: (0.0, float(row)) for row, cluster in enumerate(order)}
    for number, merge in enumerate(tree.merges, start=1):
        (left, top), (right, bottom) = places[merge.first], places[merge.second]
        axes.plot(
            [left, number, number, right], [top, top, bottom, bottom], color=ACCENT, linewidth=1.4
        )
        places[len(tree.sizes) + number - 1] = (float(number), (top + bottom) / 2.0)
    shown = [str(cluster) if names is None else names[cluster] for cluster in order]
    axes.set_yticks(range(len(order)), shown)
    ticks = _every(len(tree.merges))
    axes.set_xticks(ticks, [str(tree.num_clusters - tick) for tick in ticks.tolist()])
    axes.set_xlabel("groups left", color=MUTED, fontsize=9)
    first = tree.merges[0]
    text = (
        "From left to right, the two groups that the neighbour graph links most closely become "
        "one. Cut at a number below the axis, everything to the left of it is one group."
    )
    alternative = (
        f"Tree of {quantity(tree.num_clusters, 'cluster')}. Clusters {first.first} and "
        f"{first.second} merge first."
    )
    return Chart("hierarchy", "more", Caption("How clusters join", text, alternative), figure)


def _every(merges: int) -> npt.NDArray[np.int64]:
    """Places of the ticks, no more than can be read."""
    return np.arange(0, merges + 1, max(1, -(-merges // 20)))

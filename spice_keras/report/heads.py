"""The choice of a head: its loss and, measured afterwards, its accuracy: figures and captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import rankdata

from spice_keras.report.chart import Caption, Chart, plain_axes
from spice_keras.report.formatting import decimal, quantity
from spice_keras.report.palette import ACCENT, FAINT, INK, MUTED, PALE, WARNING

Floats = npt.NDArray[np.float64]

MAX_MARKS = 45
LOWEST, CHOSEN = "lowest loss of the epoch", "the head that was chosen"
HIGHEST, ORACLE = "highest ACC of the epoch", "best of all, by labels"
FLOOR, EARLY = "lowest possible loss", "epochs in which none is chosen"


TITLES = {"self": "Self-labelling", "refine": "Refinement"}


@dataclass(frozen=True, eq=False)
class HeadCurves:
    """The heads of one phase of self-labelling; E epochs, H heads.

    Attributes:
        losses: [E, H] loss of each head over the whole set, after each epoch; NaN where it
            diverged.
        epochs: [E] which epochs these are, from 0.
        chosen: epoch and head that were chosen; None where none was.
        first_judged: epoch from which heads were judged.
        accuracy: [A, H] accuracy of each head, measured by the evaluation alone; None without
            labels.
        accuracy_epochs: [A] the epochs that was measured at.
        by_score: whether another figure than the loss chose among the heads of the last epoch.

    SPICE (arXiv 2103.09382) Fig. 4.
    """

    losses: Floats
    epochs: npt.NDArray[np.integer[Any]]
    chosen: tuple[int, int] | None
    first_judged: int = 0
    accuracy: Floats | None = None
    accuracy_epochs: npt.NDArray[np.integer[Any]] | None = None
    by_score: bool = False

    def __post_init__(self) -> None:
        """Refuses arrays of different epochs or heads.

        Raises:
            ValueError: the shapes do not belong together, or there is no epoch.
        """
        measured = self.accuracy, self.accuracy_epochs
        if self.losses.ndim != 2 or len(self.epochs) != len(self.losses) or not self.losses.size:
            raise ValueError(
                "`losses` must be [E, H] with E = len(epochs) > 0. Received: "
                f"losses.shape={self.losses.shape}, len(epochs)={len(self.epochs)}"
            )
        if (measured[0] is None) != (measured[1] is None):
            raise ValueError(
                "`accuracy` and `accuracy_epochs` are given together or not at all. Received: "
                f"accuracy={measured[0]!r}, accuracy_epochs={measured[1]!r}"
            )
        if self.accuracy is not None and self.accuracy_epochs is not None:
            expected = (len(self.accuracy_epochs), self.losses.shape[1])
            if self.accuracy.shape != expected or not len(self.accuracy_epochs):
                raise ValueError(
                    "`accuracy` must be [A, H] with A = len(accuracy_epochs) > 0. Received: "
                    f"accuracy.shape={self.accuracy.shape}, expected {expected}"
                )

    @property
    def measured_losses(self) -> Floats:
        """[A, H] the losses at the epochs whose accuracy was measured."""
        wanted = self.epochs if self.accuracy_epochs is None else self.accuracy_epochs
        return self.losses[np.searchsorted(self.epochs, wanted)]

    @property
    def best_measured(self) -> tuple[int, int] | None:
        """Row of `accuracy` and head of the highest accuracy, which only labels can tell."""
        if self.accuracy is None:
            return None
        row, head = np.unravel_index(int(np.argmax(self.accuracy)), self.accuracy.shape)
        return int(row), int(head)

    @property
    def chosen_row(self) -> int | None:
        """Row of `accuracy` of the chosen epoch, or of the last one measured before it."""
        if self.accuracy_epochs is None or self.chosen is None:
            return None
        row = int(np.searchsorted(self.accuracy_epochs, self.chosen[0], side="right")) - 1
        return max(row, 0)

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's rank correlation of loss and accuracy over the heads at the chosen epoch."""
        row = self.chosen_row
        if row is None or self.accuracy is None:
            return None
        losses, accuracy = self.measured_losses[row], self.accuracy[row]
        known = np.isfinite(losses)
        ranks = rankdata(losses[known]), rankdata(accuracy[known])
        if known.sum() < 3 or min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
            return None
        return float(np.corrcoef(*ranks)[0, 1])


def head_charts(phases: Mapping[str, HeadCurves], loss_floor: float | None) -> Iterator[Chart]:
    """Draws how a head was chosen, and how well its loss told its accuracy.

    Args:
        phases: "self" and, if it ran, "refine" to what its heads did.
        loss_floor: lowest value that the loss of "self" can reach; None where it has none.

    Yields:
        "selection_<phase>" for each phase with a finite loss, and "loss_accuracy" with labels.
    """
    for phase, curves in phases.items():
        if np.isfinite(curves.losses).any():
            floor = loss_floor if phase == "self" else None
            caption = _selection_caption(phase, curves, floor)
            yield Chart(f"selection_{phase}", "choice", caption, selection_figure(curves, floor))
    measured = {
        TITLES.get(phase, phase): curves
        for phase, curves in phases.items()
        if curves.accuracy is not None
    }
    if measured:
        caption, figure = _loss_accuracy_caption(measured), loss_accuracy_figure(measured)
        yield Chart("loss_accuracy", "choice", caption, figure)


_LOST = "by its loss."
_SCORED = (
    "after the last epoch: the one whose clusters have the highest modularity, the share of "
    "neighbours that are in one cluster, minus the share that chance would bring together. Of "
    "heads for uneven clusters, and of other objectives, it is the one with the lowest loss."
)


def _selection_caption(phase: str, curves: HeadCurves, loss_floor: float | None) -> Caption:
    num_epochs, num_heads = curves.losses.shape
    text = (
        "Grey lines: the heads. Blue squares: the head with the lowest loss after each epoch. Blue "
        f"ring: the head that was chosen without labels, {_SCORED if curves.by_score else _LOST}"
    )
    if loss_floor is not None:
        text += (
            " However good a head is, the double softmax keeps its loss above the dashed line: it "
            "applies the softmax twice, so no prediction is ever certain."
        )
    alternative = (
        f"Loss of {quantity(num_heads, 'head')} over {quantity(num_epochs, 'epoch')}. The lowest "
        f"is {decimal(np.nanmin(curves.losses), 4)}."
    )
    if curves.accuracy is not None:
        text += (
            " Stars and the orange ring: the highest accuracy, which only labels can reveal. The "
            "closer the blue ring is to them, the better the choice."
        )
        alternative += f" {_accuracies(curves)}"
    title = f"Choice of a head, {TITLES.get(phase, phase).lower()}"
    return Caption(title, text, alternative)


def _loss_accuracy_caption(phases: Mapping[str, HeadCurves]) -> Caption:
    text = (
        "Each point is a head after an epoch; the choice was made among the blue ones. The loss "
        "chooses well if a low loss goes with a high accuracy: the points then fall from the upper "
        "left to the lower right, and their rank correlation is near -1."
    )
    alternative = " ".join(
        [
            "Scatter plot of the loss of each head against its accuracy.",
            *map(_accuracies, phases.values()),
        ]
    )
    return Caption("Does a low loss mean a high accuracy?", text, alternative)


def _accuracies(curves: HeadCurves) -> str:
    """States the accuracy of the chosen head and the highest one."""
    if curves.accuracy is None or curves.best_measured is None:
        return ""
    highest = f"The highest accuracy is {decimal(curves.accuracy[curves.best_measured])}."
    row = curves.chosen_row
    if row is None or curves.chosen is None:
        return highest
    chosen = decimal(curves.accuracy[row, curves.chosen[1]])
    return f"The chosen head has an accuracy of {chosen}. {highest}"


def selection_figure(curves: HeadCurves, loss_floor: float | None = None) -> Figure:
    """Draws the choice of a head: the loss of every head by epoch, and its ACC if there are labels.

    Args:
        curves: the heads.
        loss_floor: lowest value that the loss can reach; None where it has none.

    Returns:
        One panel of losses and, with labels, one of accuracies; the head of lowest loss of each
        epoch is marked in both. SPICE (arXiv 2103.09382) Fig. 4.
    """
    panels = 1 if curves.accuracy is None else 2
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    loss, *accuracy = figure.subplots(1, panels, squeeze=False)[0]
    _epoch_axes(loss, "Loss over the whole set", "loss", curves)
    _draw_losses(loss, curves)
    if loss_floor is not None:
        loss.axhline(loss_floor, color=MUTED, linestyle="--", linewidth=1.2, label=FLOOR)
    for axes in accuracy:
        _epoch_axes(axes, "Accuracy, measured afterwards", "ACC", curves)
        _draw_accuracy(axes, curves)
    named = {
        label: line
        for axes in figure.axes
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    order = [name for name in (LOWEST, CHOSEN, HIGHEST, ORACLE, FLOOR, EARLY) if name in named]
    figure.legend(
        [named[name] for name in order], order, loc="outside lower center", ncols=3,
        frameon=False, fontsize=8.5, labelcolor=INK,
    )  # fmt: skip
    return figure


def _epoch_axes(axes: Axes, title: str, quantity: str, curves: HeadCurves) -> None:
    """Prepares axes over epochs and shades those in which no head could be chosen."""
    plain_axes(axes)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel("epoch", color=MUTED, fontsize=9)
    axes.set_ylabel(quantity, color=MUTED, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    first, last = int(curves.epochs[0]), int(curves.epochs[-1])
    margin = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    if curves.first_judged > first:
        edge = min(curves.first_judged, last) - 0.5
        axes.axvspan(first - margin, edge, color=FAINT, linewidth=0, label=EARLY)


def _draw_losses(axes: Axes, curves: HeadCurves) -> None:
    """Draws each head's loss, the lowest of each epoch, and the chosen one."""
    axes.plot(curves.epochs, curves.losses, color=PALE, linewidth=1.0)
    known = np.isfinite(curves.losses).any(axis=1)
    lowest = np.nanmin(curves.losses[known], axis=1)
    _squares(axes, curves.epochs[known], lowest)
    if curves.chosen is not None:
        epoch, head = curves.chosen
        row = int(np.searchsorted(curves.epochs, epoch))
        _ring(axes, float(epoch), float(curves.losses[row, head]), ACCENT, CHOSEN)


def _draw_accuracy(axes: Axes, curves: HeadCurves) -> None:
    """Draws each head's ACC, that of the lowest loss, the highest, and the two chosen ones."""
    accuracy, epochs = curves.accuracy, curves.accuracy_epochs
    if accuracy is None or epochs is None:
        return
    axes.plot(epochs, accuracy, color=PALE, linewidth=1.0)
    losses = curves.measured_losses
    known = np.isfinite(losses).any(axis=1)
    heads = np.nanargmin(losses[known], axis=1)
    axes.plot(
        epochs, accuracy.max(axis=1), color=WARNING, linestyle="", marker="*", markersize=7.5,
        markeredgewidth=0, markevery=_every(len(epochs)), label=HIGHEST,
    )  # fmt: skip
    _squares(axes, epochs[known], accuracy[known][np.arange(len(heads)), heads])
    best, row = curves.best_measured, curves.chosen_row
    if best is not None:
        _ring(axes, float(epochs[best[0]]), float(accuracy[best]), WARNING, ORACLE)
    if row is not None and curves.chosen is not None and epochs[row] == curves.chosen[0]:
        _ring(axes, float(epochs[row]), float(accuracy[row, curves.chosen[1]]), ACCENT, CHOSEN)


def _every(num_points: int) -> int:
    return -(-num_points // MAX_MARKS)


def _squares(axes: Axes, epochs: np.ndarray, values: Floats) -> None:
    axes.plot(
        epochs, values, color=ACCENT, linestyle="", marker="s", markersize=3.6,
        markevery=_every(len(epochs)), label=LOWEST,
    )  # fmt: skip


def _ring(axes: Axes, x: float, y: float, color: str, label: str) -> None:
    """Draws a ring, of another size for each meaning so that two on one place both show."""
    axes.plot(
        [x], [y], color=color, linestyle="", marker="o", fillstyle="none", label=label,
        markersize=11 if label == CHOSEN else 15, markeredgewidth=1.8, clip_on=False, zorder=5,
    )  # fmt: skip


def loss_accuracy_figure(phases: Mapping[str, HeadCurves]) -> Figure:
    """Draws the loss of every head against its accuracy, one panel for each phase.

    Args:
        phases: title of a panel to its heads; those without accuracies are left out.

    Returns:
        Scatter plots: the heads at the chosen epoch in colour, at the other epochs of the later
        half pale.

    Raises:
        ValueError: no phase has accuracies.
    """
    measured = {title: curves for title, curves in phases.items() if curves.accuracy is not None}
    if not measured:
        raise ValueError(
            "`phases` must have accuracies to draw. Received: none among "
            f"{sorted(phases)}. Leave the figure out where there are no labels."
        )
    wide = len(measured) > 1
    figure = Figure(figsize=(9.0 if wide else 6.0, 3.9 if wide else 4.2), layout="constrained")
    grid = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (title, curves) in zip(grid, measured.items(), strict=True):
        plain_axes(axes)
        rank = curves.rank_correlation
        known = "" if rank is None else f", rank correlation {rank:.2f}"
        axes.set_title(f"{title}{known}", fontsize=10, color=INK, loc="left")
        axes.set_xlabel("loss over the whole set", color=MUTED, fontsize=9)
        axes.set_ylabel("ACC", color=MUTED, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        _scatter_heads(axes, curves)
    handles = grid[0].get_legend_handles_labels()
    figure.legend(
        *handles, loc="outside lower center", ncols=4 if wide else 2, frameon=False, fontsize=8.5,
        labelcolor=INK,
    )  # fmt: skip
    return figure


def _scatter_heads(axes: Axes, curves: HeadCurves) -> None:
    """Draws the points of one panel."""
    accuracy, row, best = curves.accuracy, curves.chosen_row, curves.best_measured
    if accuracy is None or best is None:
        return
    losses = curves.measured_losses
    shown = len(accuracy) - 1 if row is None else row
    # The first epochs, far off, would squeeze the heads that are compared into a corner.
    others = np.arange(len(accuracy)) >= len(accuracy) // 2
    others[shown] = False
    axes.scatter(
        losses[others].ravel(), accuracy[others].ravel(), s=9, c=PALE, linewidths=0,
        label="other late epochs",
    )  # fmt: skip
    axes.scatter(
        losses[shown], accuracy[shown], s=34, c=ACCENT, linewidths=0.8, edgecolors="white",
        label="heads at the chosen epoch", zorder=3,
    )  # fmt: skip
    _ring(axes, float(losses[best]), float(accuracy[best]), WARNING, ORACLE)
    if row is not None and curves.chosen is not None:
        head = curves.chosen[1]
        _ring(axes, float(losses[row, head]), float(accuracy[row, head]), ACCENT, CHOSEN)

"""Figures of the choice of a head: its loss, and afterwards its accuracy, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.report.cluster_figures import plain_axes
from spice_keras.report.figure_data import Floats, HeadCurves
from spice_keras.report.palette import ACCENT, GRID, INK, MUTED, PALE, WARNING

MAX_MARKS = 45
LOWEST, CHOSEN = "lowest loss of the epoch", "chosen by the loss"
HIGHEST, ORACLE = "highest ACC of the epoch", "best of all, by labels"
FLOOR, EARLY = "lowest possible loss", "epochs in which none is chosen"


def selection_figure(curves: HeadCurves, *, num_clusters: int | None = None) -> Figure:
    """Draws the choice of a head: the loss of every head by epoch, and its ACC if there are labels.

    Args:
        curves: the heads.
        num_clusters: K, for the lowest value the double-softmax loss can reach; None where the
            heads were trained with another loss.

    Returns:
        One panel of losses and, with labels, one of accuracies; the head of lowest loss of each
        epoch is marked in both. SPICE (arXiv 2103.09382) Fig. 4.
    """
    panels = 1 if curves.accuracy is None else 2
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    loss, *accuracy = figure.subplots(1, panels, squeeze=False)[0]
    _epoch_axes(loss, "Loss over the whole set", "loss", curves)
    _draw_losses(loss, curves)
    if num_clusters is not None and num_clusters > 1:
        floor = double_softmax_floor(num_clusters)
        loss.axhline(floor, color=MUTED, linestyle="--", linewidth=1.2, label=FLOOR)
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
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel("epoch", color=MUTED, fontsize=9)
    axes.set_ylabel(quantity, color=MUTED, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    first, last = int(curves.epochs[0]), int(curves.epochs[-1])
    margin = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    if curves.first_judged > first:
        edge = min(curves.first_judged, last) - 0.5
        axes.axvspan(first - margin, edge, color="#f3f4f6", linewidth=0, label=EARLY)


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
        axes.grid(color=GRID, linewidth=0.8)
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

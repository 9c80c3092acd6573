"""What each stage's loss and health figures did, epoch by epoch: figures and captions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spice_keras.report.chart import Caption, Chart, plain_axes
from spice_keras.report.formatting import decimal, finite, quantity
from spice_keras.report.palette import CURVES, INK, MUTED

Rows = Sequence[Mapping[str, Any]]

CURVE_STYLES = ("-", "-", (0, (4, 1.5)), (0, (1, 1)))


@dataclass(frozen=True)
class Panel:
    """One pair of axes: which keys of a history row it draws, and under which names."""

    title: str
    curves: Mapping[str, str]
    reference: tuple[str, str] | None = None
    unit_range: bool = False


LEARNING_RATE = Panel("Learning rate", {"learning_rate": "learning rate"})
HEAD_PANELS = (
    Panel("Training loss, mean over heads", {"loss": "loss"}),
    Panel(
        "Balance of the cluster sizes (1 = all equal)",
        {"cluster_entropy": "size balance"},
        unit_range=True,
    ),
)
PANELS: Mapping[str, tuple[Panel, ...]] = {
    "pretrain": (
        Panel("Contrastive loss", {"loss": "loss"}, ("random_guess", "random guess, ln(K+1)")),
        Panel(
            "Embeddings",
            {
                "embedding_std": "spread (0 = collapsed, 1 = even)",
                "neighbor_quality": "neighbour quality",
            },
        ),
        LEARNING_RATE,
    ),
    "self": HEAD_PANELS,
    "refine": HEAD_PANELS,
    "semi": (
        Panel(
            "Loss",
            {"loss": "total", "supervised": "supervised", "unsupervised": "unsupervised"},
        ),
        Panel(
            "Mask ratio: share of confident unlabelled images",
            {"mask_ratio": "mask ratio"},
            unit_range=True,
        ),
        LEARNING_RATE,
    ),
}
OTHER_STAGE = (Panel("Loss", {"loss": "loss"}), LEARNING_RATE)


@dataclass(frozen=True)
class StageWords:
    """What the report calls a stage, and how its curves are read."""

    title: str
    reading: str


STAGES: Mapping[str, StageWords] = {
    "pretrain": StageWords(
        "Contrastive pre-training (MoCo v2)",
        "The network learns to recognise two views of one image among the K images of a queue. "
        "The loss should fall below that of a random guess, ln(K+1). It often rises first, while "
        "the queue fills. A spread near 0 means that all images have the same embedding.",
    ),
    "self": StageWords(
        "Self-labelling",
        "The loss should fall and then level out. A balance that stays far below 1 means that a "
        "few clusters hold most of the set.",
    ),
    "refine": StageWords(
        "Refinement by neighbours",
        "Training goes on with another loss: similar embeddings should get the same cluster.",
    ),
    "semi": StageWords(
        "SPICE-Semi",
        "The mask ratio is the share of unlabelled images from which the network learns: those "
        "whose weakly augmented view it classifies with enough confidence. It should rise. If it "
        "stays low, most images contribute nothing.",
    ),
}


def training_charts(history: Mapping[str, Rows]) -> Iterator[Chart]:
    """Draws the training curves of every stage that recorded a number.

    Args:
        history: stage to one mapping of numbers per epoch.

    Yields:
        "training_<stage>".
    """
    for stage, rows in history.items():
        if drawable_panels(stage, rows):
            figure = training_figure(stage, rows)
            yield Chart(f"training_{stage}", "training", _caption(stage, rows), figure)


def _caption(stage: str, rows: Rows) -> Caption:
    words = STAGES.get(stage, StageWords(stage, ""))
    alternative = f"Training curves of {words.title} over {quantity(len(rows), 'epoch')}."
    losses = curve(rows, "loss")
    known = losses[np.isfinite(losses)]
    if len(known):
        alternative += f" The loss goes from {decimal(known[0])} to {decimal(known[-1])}."
    return Caption(words.title, words.reading, alternative)


def drawable_panels(stage: str, rows: Rows) -> tuple[Panel, ...]:
    """Lists the panels of a stage for which the history holds at least one number."""
    return tuple(
        panel
        for panel in PANELS.get(stage, OTHER_STAGE)
        if any(np.isfinite(curve(rows, key)).any() for key in panel.curves)
    )


def curve(rows: Rows, key: str) -> npt.NDArray[np.float64]:
    """Reads one quantity off the history rows.

    Args:
        rows: one mapping per epoch.
        key: the quantity.

    Returns:
        [E]; NaN where a row has no finite number.
    """
    return np.asarray([_number(row.get(key)) for row in rows], dtype=np.float64)


def training_figure(stage: str, rows: Rows) -> Figure:
    """Draws the training curves of one stage.

    Args:
        stage: "pretrain", "self" or "semi"; any other stage gets its loss and learning rate.
        rows: one mapping of numbers per epoch; "epoch" names the position where it is given.

    Returns:
        One panel per group of quantities that the rows hold.

    Raises:
        ValueError: the rows hold no number that the stage's panels draw.
    """
    panels = drawable_panels(stage, rows)
    if not panels:
        raise ValueError(
            f"`rows` must hold at least one finite number to draw. Received: stage={stage!r} with "
            f"{len(rows)} rows. Leave the figure out where a stage has no history."
        )
    figure = Figure(figsize=(9.0, 3.1), layout="constrained")
    epochs = _epochs(rows)
    widths = [0.6 if panel is LEARNING_RATE else 1.0 for panel in panels]
    for axes, panel in zip(
        figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0], panels, strict=True
    ):
        plain_axes(axes)
        axes.set_title(panel.title, fontsize=10, color=INK, loc="left")
        axes.set_xlabel("epoch", color=MUTED, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _draw_curves(axes, epochs, rows, panel)
    return figure


def _draw_curves(axes: Axes, epochs: npt.NDArray[np.float64], rows: Rows, panel: Panel) -> None:
    """Draws the quantities of one panel and its reference line."""
    styles = zip(CURVES, CURVE_STYLES, strict=True)
    for (color, style), (key, label) in zip(styles, panel.curves.items(), strict=False):
        values = curve(rows, key)
        known = np.isfinite(values)
        if known.any():
            # A figure measured every few epochs would be invisible as isolated points of a line.
            marker = "o" if known.sum() <= 20 else ""
            axes.plot(
                epochs[known],
                values[known],
                color=color,
                linestyle=style,
                label=label,
                linewidth=1.6,
                marker=marker,
                markersize=3,
            )
    if panel.reference is not None:
        key, label = panel.reference
        values = curve(rows, key)
        if np.isfinite(values).any():
            axes.plot(epochs, values, color=MUTED, linestyle="--", linewidth=1.2, label=label)
    if panel.unit_range:
        axes.set_ylim(0, 1.02)
    if len(axes.get_lines()) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def _epochs(rows: Rows) -> npt.NDArray[np.float64]:
    """Reads the epoch of each row, its position from 1 where a row does not name one."""
    named = [finite(row.get("epoch")) for row in rows]
    return np.asarray(
        [position + 1 if epoch is None else epoch for position, epoch in enumerate(named)],
        dtype=np.float64,
    )


def _number(value: object) -> float:
    number = finite(value)
    return math.nan if number is None else number

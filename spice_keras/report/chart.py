"""A figure with its caption and its place in the report, and what all axes look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spice_keras.report.palette import GRID, MUTED, PALE

Section = Literal["sizes", "groups", "prototypes", "map", "classes", "training", "choice", "more"]

MAX_LABELS = 40
"""Ticks of an axis that can still be read."""


@dataclass(frozen=True)
class Caption:
    """The words of one figure; none of them is escaped.

    Attributes:
        title: its heading.
        text: what a reader sees below it.
        alternative: what it shows, for readers who cannot see it.
    """

    title: str
    text: str
    alternative: str


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure of the report.

    Attributes:
        name: of its files, without a suffix.
        section: where the page shows it.
        caption: its words.
        figure: the drawing.
        is_raster: whether it is made of many points or of pixels, and has no SVG file.
        keeps_paper: whether it stays on white where the page is dark: its colours have a meaning.
    """

    name: str
    section: Section
    caption: Caption
    figure: Figure
    is_raster: bool = False
    keeps_paper: bool = False


def plain_axes(axes: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Leaves an axes with two thin spines, muted ticks and a pale grid behind everything.

    Args:
        axes: changed in place.
        grid: the lines drawn.
    """
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.tick_params(colors=MUTED, labelsize=9, length=3)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)

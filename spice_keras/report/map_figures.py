"""Figures of the embedding map: clusters or classes in it, and how certain their members are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from spice_keras.report.palette import INK, MUTED, PALE, WARNING, cluster_colors

MAX_NUMBERED_CLUSTERS = 60
MAX_NAMED_GROUPS = 20


def embedding_map_figure(
    points: npt.NDArray[np.float32], clusters: npt.NDArray[np.integer[Any]], num_clusters: int
) -> Figure:
    """Draws the embedding map coloured by cluster.

    Args:
        points: [n, 2] positions.
        clusters: [n] cluster of each point.
        num_clusters: K.

    Returns:
        A scatter plot with each cluster's number at the median of its points.
    """
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    axes = _map_axes(figure, 111)
    colors = np.asarray([*cluster_colors(num_clusters), PALE])
    axes.scatter(
        points[:, 0], points[:, 1], c=colors[clusters], s=_marker_area(len(points)), linewidths=0
    )
    if num_clusters <= MAX_NUMBERED_CLUSTERS:
        _number_clusters(axes, points, clusters)
    return figure


def reliable_map_figure(
    points: npt.NDArray[np.float32],
    groups: npt.NDArray[np.integer[Any]],
    reliable: npt.NDArray[np.bool_],
    colors: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("all", "reliable"),
) -> Figure:
    """Draws the embedding map twice: all points, and only the reliable ones.

    Args:
        points: [n, 2] positions.
        groups: [n] what gives each point its colour, cluster or class; grey where -1.
        reliable: [n] whether each point passed the reliability thresholds.
        colors: of the groups.
        names: of the groups, for a legend; None for none.
        titles: of the two panels.

    Returns:
        Two scatter plots on the same positions. SPICE (arXiv 2103.09382) Fig. 5.
    """
    figure = Figure(figsize=(9.0, 4.5), layout="constrained")
    area = _marker_area(len(points)) * 0.6
    palette = np.asarray([*colors, PALE])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.03 * np.maximum(high - low, 1e-6)
    shown = np.ones(len(points), dtype=bool), np.asarray(reliable, dtype=bool)
    for place, (chosen, title) in enumerate(zip(shown, titles, strict=True)):
        axes = _map_axes(figure, 121 + place, f"({'ab'[place]}) {title}")
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.scatter(
            points[chosen, 0], points[chosen, 1], c=palette[groups[chosen]], s=area, linewidths=0
        )
    if names is not None and len(names) <= MAX_NAMED_GROUPS:
        handles = [
            Line2D([], [], color=color, marker="o", linestyle="", markersize=5)
            for color in colors[: len(names)]
        ]
        legend = figure.legend(
            handles, names, loc="outside lower center", ncols=_columns(names),
            frameon=False, fontsize=8, labelcolor=INK, handletextpad=0.1, columnspacing=1.2,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def trust_map_figure(
    points: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    agrees: npt.NDArray[np.bool_],
) -> Figure:
    """Draws the embedding map by what can be doubted: confidence, and the neighbours' clusters.

    Args:
        points: [n, 2] positions.
        confidence: [n] confidence of each point, in [0, 1].
        agrees: [n] whether most neighbours of each point are in its cluster.

    Returns:
        Two scatter plots on the same positions.
    """
    figure = Figure(figsize=(9.0, 4.5), layout="constrained")
    area = _marker_area(len(points)) * 0.6
    left = _map_axes(figure, 121, "confidence")
    # Certain points first: the few uncertain ones are what the reader looks for.
    order = np.argsort(-np.nan_to_num(confidence), kind="stable")
    drawn = left.scatter(
        points[order, 0],
        points[order, 1],
        c=confidence[order],
        s=area,
        vmin=0,
        vmax=1,
        cmap="viridis",
        linewidths=0,
    )
    bar = figure.colorbar(drawn, ax=left, location="bottom", fraction=0.04, pad=0.02)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=2)
    bar.outline.set_visible(False)
    right = _map_axes(figure, 122, "most neighbours are in another cluster")
    apart = ~np.asarray(agrees, dtype=bool)
    right.scatter(points[~apart, 0], points[~apart, 1], c=PALE, s=area, linewidths=0, label="no")
    right.scatter(
        points[apart, 0], points[apart, 1], c=WARNING, s=1.6 * area, linewidths=0, label="yes"
    )
    right.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=8,
        labelcolor=INK, handletextpad=0.1,
    )  # fmt: skip
    return figure


def _map_axes(figure: Figure, position: int, title: str = "") -> Axes:
    """Adds axes without scales: distances in the map have no unit."""
    axes = figure.add_subplot(position)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(PALE)
    axes.margins(0.03)
    axes.set_title(title, fontsize=10, color=INK)
    return axes


def _columns(names: Sequence[str]) -> int:
    """Columns of a legend that fits below the panels, its rows equally full."""
    fitting = int(np.clip(110 // (4 + max(map(len, names), default=1)), 1, 10))
    rows = -(-len(names) // fitting)
    return -(-len(names) // rows)


def _marker_area(num_points: int) -> float:
    """Smaller markers where there are more points, in square typographic points."""
    return float(np.clip(24_000 / max(num_points, 1), 3.0, 26.0))


def _number_clusters(
    axes: Axes, points: npt.NDArray[np.float32], clusters: npt.NDArray[np.integer[Any]]
) -> None:
    """Writes each cluster's number at the median of its points."""
    for cluster in np.unique(clusters):
        x, y = np.median(points[clusters == cluster], axis=0)
        halo = [withStroke(linewidth=3, foreground="white")]
        axes.text(
            x,
            y,
            str(cluster),
            ha="center",
            va="center",
            fontsize=12,
            fontweight="bold",
            color=INK,
            path_effects=halo,
        )

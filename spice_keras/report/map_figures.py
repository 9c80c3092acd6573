"""Figures of the embedding map: the clusters in it, and how certain their members are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from spice_keras.report.palette import INK, MUTED, PALE, cluster_colors

MAX_NUMBERED_CLUSTERS = 60


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


def trust_map_figure(
    points: npt.NDArray[np.float32],
    clusters: npt.NDArray[np.integer[Any]],
    confidence: npt.NDArray[np.float32],
    reliable: npt.NDArray[np.bool_],
    num_clusters: int,
) -> Figure:
    """Draws the embedding map twice: by confidence, and with only the reliable points coloured.

    The second panel is the paper's view of its reliable samples, with clusters for the colours
    so that no label is needed.

    Args:
        points: [n, 2] positions.
        clusters: [n] cluster of each point.
        confidence: [n] confidence of each point, in [0, 1].
        reliable: [n] whether each point passed the reliability thresholds.
        num_clusters: K.

    Returns:
        Two scatter plots on the same positions. SPICE (arXiv 2103.09382) Fig. 5.
    """
    figure = Figure(figsize=(9.0, 4.3), layout="constrained")
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
    right = _map_axes(figure, 122, "reliable members by cluster, the others grey")
    chosen = np.asarray(reliable, dtype=bool)
    colors = np.asarray([*cluster_colors(num_clusters), PALE])
    right.scatter(points[~chosen, 0], points[~chosen, 1], c=PALE, s=area, linewidths=0)
    right.scatter(
        points[chosen, 0], points[chosen, 1], c=colors[clusters[chosen]], s=area, linewidths=0
    )
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

"""The embedding map by cluster, by class and by what can be doubted: figures and captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from spice_keras.report.chart import Caption, Chart
from spice_keras.report.classes import Classes, shortened
from spice_keras.report.clustering import Clustering, Noun, check_length
from spice_keras.report.formatting import count, decimal, percent, quantity
from spice_keras.report.palette import INK, MUTED, PALE, WARNING, cluster_colors, marker

MAX_NUMBERED_CLUSTERS = 60
MAX_NAMED_GROUPS = 20
# Of viridis, the part that can be seen on white: teal has a contrast of 3:1, yellow has none.
_CONFIDENCE = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.55, 128)), "confidence")


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Some of the embeddings in the plane; n points.

    Attributes:
        points: [n, 2] where each lies.
        indices: [n] which item each is.
        method: name of the projection, "t-SNE" or "PCA".
    """

    points: npt.NDArray[np.float32]
    indices: npt.NDArray[np.integer[Any]]
    method: str

    def __post_init__(self) -> None:
        """Refuses points of other items.

        Raises:
            ValueError: there is not one item for each point.
        """
        check_length("points", self.points, len(self.indices))


@dataclass(frozen=True, eq=False)
class MapGroups:
    """What colours the points of a map: their classes if these are known, else their clusters.

    Attributes:
        values: [n] group of each point, -1 where it has none.
        colors: of the groups; a class has that of the cluster it was matched with.
        shapes: of the groups, likewise: a colour is never all that tells them apart.
        names: of the groups.
        titles: of the panel of all points and of that of the reliable ones.
        are_classes: whether the groups are classes.
    """

    values: npt.NDArray[np.integer[Any]]
    colors: Sequence[str]
    shapes: Sequence[str]
    names: Sequence[str]
    titles: tuple[str, str]
    are_classes: bool = False


def map_charts(
    embedding_map: EmbeddingMap, clustering: Clustering, classes: Classes | None, noun: Noun
) -> Iterator[Chart]:
    """Draws the embedding map three times, or not at all where it has no points.

    Args:
        embedding_map: the points.
        clustering: clusters, confidence and reliability of all items.
        classes: the labels; None without.
        noun: what one item is called.

    Yields:
        "embedding_map", "reliable_map" and "trust_map".
    """
    shown, points = embedding_map.indices, np.asarray(embedding_map.points, dtype=np.float32)
    if not len(points):
        return
    caption = _map_caption(embedding_map, len(clustering.clusters), noun)
    figure = embedding_map_figure(points, clustering.clusters[shown], cluster_names(clustering))
    yield Chart("embedding_map", "map", caption, figure, is_raster=True)
    groups, reliable = map_groups(shown, clustering, classes, noun), clustering.reliable[shown]
    figure = reliable_map_figure(points, groups, reliable)
    yield Chart("reliable_map", "map", _reliable_map_caption(groups, noun), figure, is_raster=True)
    confidence, agrees = clustering.confidence[shown], clustering.agrees[shown]
    figure = trust_map_figure(points, confidence, agrees)
    caption = _trust_caption(confidence, agrees, noun)
    yield Chart("trust_map", "map", caption, figure, is_raster=True)


def _map_caption(embedding_map: EmbeddingMap, num_items: int, noun: Noun) -> Caption:
    shown = f"{count(len(embedding_map.points))} of {quantity(num_items, noun)}"
    similar = "have similar embeddings" if noun == "item" else "look similar to the network"
    text = (
        f"{shown}, projected to two dimensions by {embedding_map.method}. Points close together "
        f"{similar}. The size of a group and the distance between groups mean little."
    )
    alternative = (
        f"Scatter plot of {shown} by cluster, with the number of each cluster at the "
        "median of its points."
    )
    return Caption("Embedding map by cluster", text, alternative)


def _reliable_map_caption(groups: MapGroups, noun: Noun) -> Caption:
    colored = "class" if groups.are_classes else "cluster"
    text = (
        f"The same map coloured by {colored}: (a) every {noun}, (b) only the reliable ones, whose "
        "nearest neighbours share their cluster. Look for colours that mix in (a) but not in (b), "
        f"and for groups that are missing in (b): they have no reliable {noun}."
    )
    if groups.are_classes:
        text += (
            " Each class has the colour and shape of the cluster it was matched with. ACC "
            "(accuracy) is that of the points shown."
        )
    alternative = (
        f"Two scatter plots coloured by {colored}: {groups.titles[0]}; {groups.titles[1]}."
    )
    return Caption(f"All {noun}s and the reliable ones", text, alternative)


def _trust_caption(
    confidence: npt.NDArray[np.float32], agrees: npt.NDArray[np.bool_], noun: Noun
) -> Caption:
    apart = int((~np.asarray(agrees, dtype=bool)).sum())
    text = (
        f"Left: the confidence of each {noun}. Right: {noun}s whose nearest neighbours are mostly "
        "in another cluster. Both kinds of doubt should lie at the borders of groups. A whole "
        "group in doubt may belong to another cluster."
    )
    alternative = (
        f"Two scatter plots of the same {quantity(len(agrees), 'point')}: coloured by confidence, "
        f"{percent((confidence < 0.9).mean())} of them below 0.9, and with the {count(apart)} "
        "whose neighbours are mostly in another cluster marked."
    )
    return Caption("Where the clustering is in doubt", text, alternative)


def map_groups(
    rows: npt.NDArray[np.integer[Any]],
    clustering: Clustering,
    classes: Classes | None,
    noun: Noun,
) -> MapGroups:
    """Groups the points of a map by class where the run has labels, by cluster elsewhere.

    Args:
        rows: [n] which item each point is.
        clustering: clusters and reliability of all items.
        classes: the labels; None without.
        noun: what one item is called.

    Returns:
        Groups with their colours, and titles that state the accuracy of what each panel shows.
    """
    reliable = np.asarray(clustering.reliable, dtype=bool)[rows]
    titles = (
        f"all {quantity(len(rows), noun)}",
        f"the {count(int(reliable.sum()))} reliable ones",
    )
    clusters, num_clusters = clustering.clusters[rows], clustering.num_clusters
    if classes is None:
        colors, shapes = cluster_colors(num_clusters), [*map(marker, range(num_clusters))]
        return MapGroups(clusters, colors, shapes, cluster_names(clustering), titles)
    matched = np.full(num_clusters, -1)
    for cluster, label in classes.matching.items():
        matched[cluster] = label
    labels = classes.labels[rows]
    right, known = matched[clusters] == labels, labels >= 0
    places = _class_places(len(classes.names), matched)
    colors = cluster_colors(max(len(classes.names), num_clusters))
    return MapGroups(
        labels,
        [colors[place] for place in places],
        [marker(place) for place in places],
        _class_names(classes),
        (
            f"{titles[0]}, ACC {_share(right[known])}",
            f"{titles[1]}, ACC {_share(right[known & reliable])}",
        ),
        are_classes=True,
    )


def cluster_names(clustering: Clustering) -> list[str]:
    """Names every cluster as a legend does: its number, and its name if it has one."""
    return [
        f"{cluster} {shortened(clustering.name_of(cluster) or '')}".rstrip()
        for cluster in range(clustering.num_clusters)
    ]


def _class_names(classes: Classes) -> list[str]:
    """Names every class, with the cluster it was matched with."""
    cluster_of = {label: cluster for cluster, label in classes.matching.items()}
    return [
        f"{shortened(name)}: cluster {cluster_of[label]}"
        if label in cluster_of
        else f"{shortened(name)}: no cluster"
        for label, name in enumerate(classes.names)
    ]


def _class_places(num_classes: int, matched: npt.NDArray[Any]) -> list[int]:
    """Gives a class the colour and shape of its cluster, and the rest those left over."""
    taken = {int(label): cluster for cluster, label in enumerate(matched) if label >= 0}
    every = range(max(num_classes, len(matched)))
    free = iter(sorted(set(every) - set(taken.values())))
    return [taken[label] if label in taken else next(free) for label in range(num_classes)]


def _share(right: npt.NDArray[np.bool_]) -> str:
    return decimal(right.mean() if len(right) else None)


def embedding_map_figure(
    points: npt.NDArray[np.float32], clusters: npt.NDArray[np.integer[Any]], names: Sequence[str]
) -> Figure:
    """Draws the embedding map by cluster: each has a colour, a shape and a number.

    Args:
        points: [n, 2] positions.
        clusters: [n] cluster of each point.
        names: [K] what the legend calls each cluster.

    Returns:
        A scatter plot with each cluster's number at the median of its points.
    """
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    axes = _map_axes(figure, 111)
    colors, shapes = cluster_colors(len(names)), [*map(marker, range(len(names)))]
    _draw_groups(axes, points, clusters, (colors, shapes), _marker_area(len(points)))
    if len(names) <= MAX_NUMBERED_CLUSTERS:
        _number_clusters(axes, points, clusters)
    _add_legend(figure, names, (colors, shapes))
    return figure


def _draw_groups(
    axes: Axes,
    points: npt.NDArray[np.float32],
    values: npt.NDArray[np.integer[Any]],
    look: tuple[Sequence[str], Sequence[str]],
    area: float,
) -> None:
    """Draws points in the colours and shapes of their groups; those of no group as pale dots."""
    colors, shapes = np.asarray([*look[0], PALE]), np.asarray([*look[1], "o"])
    for shape in dict.fromkeys(shapes.tolist()):
        chosen = shapes[values] == shape
        if chosen.any():
            axes.scatter(
                points[chosen, 0], points[chosen, 1], c=colors[values[chosen]],
                s=area * (2.0 if shape == "*" else 1.0),
                marker=shape, linewidths=0,
            )  # fmt: skip


def _add_legend(
    figure: Figure, names: Sequence[str], look: tuple[Sequence[str], Sequence[str]]
) -> None:
    """Names the groups below the panels, unless there are too many."""
    if not names or len(names) > MAX_NAMED_GROUPS:
        return
    handles = [
        Line2D([], [], color=color, marker=shape, linestyle="", markersize=5.5)
        for color, shape in zip(*look, strict=True)
    ]
    legend = figure.legend(
        handles, names, loc="outside lower center", ncols=_columns(names), frameon=False,
        fontsize=8, labelcolor=INK, handletextpad=0.1, columnspacing=1.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def reliable_map_figure(
    points: npt.NDArray[np.float32], groups: MapGroups, reliable: npt.NDArray[np.bool_]
) -> Figure:
    """Draws the embedding map twice: all points, and only the reliable ones.

    Args:
        points: [n, 2] positions.
        groups: what gives each point its colour and shape; grey where -1.
        reliable: [n] whether each point passed the reliability thresholds.

    Returns:
        Two scatter plots on the same positions. SPICE (arXiv 2103.09382) Fig. 5.
    """
    figure = Figure(figsize=(9.0, 4.5), layout="constrained")
    area = _marker_area(len(points)) * 0.6
    look = groups.colors, groups.shapes
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.03 * np.maximum(high - low, 1e-6)
    shown = np.ones(len(points), dtype=bool), np.asarray(reliable, dtype=bool)
    for place, (chosen, title) in enumerate(zip(shown, groups.titles, strict=True)):
        axes = _map_axes(figure, 121 + place, f"({'ab'[place]}) {title}")
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        _draw_groups(axes, points[chosen], groups.values[chosen], look, area)
    _add_legend(figure, groups.names, look)
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
        cmap=_CONFIDENCE,
        linewidths=0,
    )
    bar = figure.colorbar(drawn, ax=left, location="bottom", fraction=0.04, pad=0.02)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=2)
    bar.outline.set_visible(False)
    right = _map_axes(figure, 122, "most neighbours are in another cluster")
    apart = ~np.asarray(agrees, dtype=bool)
    right.scatter(points[~apart, 0], points[~apart, 1], c=PALE, s=area, linewidths=0, label="no")
    right.scatter(
        points[apart, 0], points[apart, 1], c=WARNING, s=1.8 * area, marker="X", linewidths=0,
        label="yes",
    )  # fmt: skip
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
        halo = [withStroke(linewidth=4, foreground="white")]
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

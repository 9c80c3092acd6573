"""What colours the two maps of all and of reliable points: classes where known, else clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spice_keras.report.cluster_figures import shortened
from spice_keras.report.content import ReportData
from spice_keras.report.formatting import count, decimal, quantity
from spice_keras.report.palette import cluster_colors


@dataclass(frozen=True, eq=False)
class MapGroups:
    """The groups of the points of the map.

    Attributes:
        values: [n] group of each point, -1 where it has none.
        colors: of the groups; a class has that of the cluster it was matched with.
        names: of the groups; None where they are clusters.
        titles: of the panel of all points and of that of the reliable ones.
    """

    values: npt.NDArray[np.integer[Any]]
    colors: Sequence[str]
    names: Sequence[str] | None
    titles: tuple[str, str]


def map_groups(data: ReportData) -> MapGroups:
    """Groups the points of the map by class where the run has labels, by cluster elsewhere.

    Args:
        data: the run.

    Returns:
        Groups with their colours, and titles that state the accuracy of what each panel shows.
    """
    rows = np.asarray(data.map_indices)
    reliable = np.asarray(data.reliable, dtype=bool)[rows]
    titles = (
        f"all {quantity(len(rows), data.item)}",
        f"the {count(int(reliable.sum()))} reliable ones",
    )
    colors = cluster_colors(data.num_clusters)
    labels, names = data.map_labels, data.class_names
    if labels is None or names is None or data.matching is None:
        return MapGroups(data.clusters[rows], colors, None, titles)
    matched = np.full(data.num_clusters, -1)
    for cluster, label in data.matching.items():
        matched[cluster] = label
    right, known = matched[data.clusters[rows]] == labels, labels >= 0
    return MapGroups(
        labels,
        _class_colors(len(names), data.num_clusters, matched),
        [shortened(name) for name in names],
        (
            f"{titles[0]}, ACC {_share(right[known])}",
            f"{titles[1]}, ACC {_share(right[known & reliable])}",
        ),
    )


def _class_colors(num_classes: int, num_clusters: int, matched: npt.NDArray[Any]) -> list[str]:
    """Gives a class the colour of its cluster, and those left over the colours left over."""
    colors = cluster_colors(max(num_classes, num_clusters))
    taken = {int(label): cluster for cluster, label in enumerate(matched) if label >= 0}
    free = iter(sorted(set(range(len(colors))) - set(taken.values())))
    return [colors[taken[label] if label in taken else next(free)] for label in range(num_classes)]


def _share(right: npt.NDArray[np.bool_]) -> str:
    return decimal(right.mean() if len(right) else None)

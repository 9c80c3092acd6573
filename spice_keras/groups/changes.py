"""What becomes of clusters when there are more or fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spice_keras.metrics.clustering import contingency


class Part(NamedTuple):
    """A cluster of the finer clustering that comes out of one of the coarser.

    Attributes:
        cluster: Its number.
        num_items: Its items.
    """

    cluster: int
    num_items: int


class Split(NamedTuple):
    """A cluster of the coarser clustering that falls apart in the finer one.

    Attributes:
        cluster: Its number.
        num_items: Its items.
        parts: What it falls apart into, the largest first.
    """

    cluster: int
    num_items: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Changes:
    """What happens from the coarser of two clusterings to the finer; read backwards, what merges.

    Attributes:
        coarse: Number of clusters of the coarser.
        fine: Number of clusters of the finer.
        splits: Clusters of the coarser that fall apart.
        dissolved: Clusters of the coarser that are the main origin of none of the finer.
        moved_items: Items that leave a cluster otherwise.
    """

    coarse: int
    fine: int
    splits: tuple[Split, ...]
    dissolved: tuple[int, ...]
    moved_items: int


def cluster_changes(one: npt.ArrayLike, other: npt.ArrayLike) -> Changes:
    """Compare two clusterings of the same items.

    Every cluster of the finer comes out of the one of the coarser that most of its items were in.

    Args:
        one: Cluster of each item, integers from 0. Shape: (num_items,).
        other: Likewise; the finer is the one with more clusters in use, or this one.

    Returns:
        The changes.

    Raises:
        ValueError: If there is no item, shapes disagree, or an id is negative or not an integer.

    Example:
        >>> cluster_changes([0, 0, 0, 1, 1], [0, 0, 1, 2, 2]).splits
        (Split(cluster=0, num_items=3, parts=(Part(cluster=0, num_items=2), \
Part(cluster=1, num_items=1))),)
    """
    counts = contingency(one, other)
    if np.count_nonzero(counts.sum(axis=1)) > np.count_nonzero(counts.sum(axis=0)):
        counts = counts.T
    sizes, parts = counts.sum(axis=1), counts.sum(axis=0)
    origins = counts.argmax(axis=0)
    splits, dissolved = [], []
    for cluster in np.flatnonzero(sizes).tolist():
        members = [
            Part(int(part), int(parts[part]))
            for part in np.flatnonzero((origins == cluster) & (parts > 0))
        ]
        members.sort(key=lambda part: -part.num_items)
        if len(members) > 1:
            splits.append(Split(cluster, int(sizes[cluster]), tuple(members)))
        if not members:
            dissolved.append(cluster)
    return Changes(
        coarse=int(np.count_nonzero(sizes)),
        fine=int(np.count_nonzero(parts)),
        splits=tuple(splits),
        dissolved=tuple(dissolved),
        moved_items=int(counts.sum() - counts.max(axis=0).sum()),
    )

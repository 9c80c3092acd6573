"""Clusterings for each number of clusters: heads on all items and on two halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.groups.hierarchy import merge_clusters
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.objectives import HeadOptions, neighbor_labeling
from spice_keras.heads.selection import head_logits
from spice_keras.metrics.modularity import modularity
from spice_keras.options import pairs_per_step
from spice_keras.progress import Task

NUM_NEIGHBORS = 10


@dataclass(frozen=True)
class GridTraining:
    """How heads are trained for one number of clusters: fewer and shorter than in a run.

    Attributes:
        num_heads: Heads on all items.
        num_half_heads: Heads on each half.
        epochs: Passes over the items.
        learning_rate: Learning rate of Adam, larger than a run's because there are few epochs.
        seed: Seed of the halves, the weights, the starts and the batches.
    """

    num_heads: int = 3
    num_half_heads: int = 2
    epochs: int = 10
    learning_rate: float = 0.003
    seed: int = 0


@dataclass(frozen=True)
class Candidates:
    """What the heads of one number of clusters say.

    Attributes:
        clusters: int32 [H, N], by heads trained on all items.
        halves: int32 [2, H', N], of all items by heads trained on one half and on the other.
    """

    clusters: npt.NDArray[np.int32]
    halves: npt.NDArray[np.int32]


def train_candidates(
    points: np.ndarray,
    neighbors: np.ndarray,
    grid: Sequence[int],
    training: GridTraining,
    task: Task,
) -> list[Candidates]:
    """Train heads for each number of clusters.

    Args:
        points: Unit rows the heads read. Shape: (num_items, dim).
        neighbors: Nearest neighbours, itself not among them. Shape: (num_items, num_neighbors).
        grid: Numbers of clusters.
        training: How.
        task: Is told of each number that is done.

    Returns:
        What the heads of each number say, in the order of the grid.
    """
    no_views = np.empty((0, *points.shape), np.float16)
    whole = FeatureBank(
        points, points, neighbors, neighbors, no_views, no_views, space=FeatureSpace("unit")
    )
    drawn = np.random.default_rng(training.seed).permutation(len(points))
    half = len(points) // 2
    halves = [_half_bank(points[np.sort(rows)]) for rows in (drawn[:half], drawn[half:])]
    found = []
    for number in grid:
        everyone = _clusters(whole, points, number, training.num_heads, training, training.seed)
        parts = [
            _clusters(bank, points, number, training.num_half_heads, training, training.seed + i)
            for i, bank in enumerate(halves, start=1)
        ]
        found.append(Candidates(everyone, np.stack(parts)))
        task.advance()
    return found


def _half_bank(points: np.ndarray) -> FeatureBank:
    count = min(NUM_NEIGHBORS, len(points) - 1)
    return unit_feature_bank(points, for_heads=count, for_reliability=1)


def _clusters(
    bank: FeatureBank,
    points: np.ndarray,
    num_clusters: int,
    num_heads: int,
    training: GridTraining,
    seed: int,
) -> npt.NDArray[np.int32]:
    """Train heads on a bank and let them sort all points: int32 [H, N]."""
    half_a_cluster = max(1, len(bank.features) // (2 * num_clusters))
    bank = replace(bank, head_neighbors=bank.head_neighbors[:, :half_a_cluster])
    heads = HeadOptions(
        num_clusters=num_clusters,
        num_heads=num_heads,
        start="spectral",
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        seed=seed,
    )
    labeling = neighbor_labeling(bank, heads, batch_size=pairs_per_step(num_clusters))
    labeling.model.fit(
        labeling.batches(0),
        epochs=training.epochs,
        steps_per_epoch=labeling.steps_per_epoch,
        verbose=0,
        shuffle=False,  # the batches come shuffled
    )
    return head_logits(labeling.model.classifier, points).argmax(axis=2).astype(np.int32)


def best_clusters(
    candidates: Sequence[Candidates], neighbors: np.ndarray, grid: Sequence[int]
) -> npt.NDArray[np.int32]:
    """Choose one clustering for each number of clusters: the one of largest modularity.

    Heads can start badly and stay there, so clusters of up to twice the number, merged down to
    it, compete with the heads that were trained for it.

    Args:
        candidates: What the heads of each number say.
        neighbors: Nearest neighbours, itself not among them. Shape: (num_items, num_neighbors).
        grid: Numbers of clusters, as many as candidates.

    Returns:
        Clusters of each number. Shape: (len(grid), num_items).
    """
    by_heads = [_most_modular(one.clusters, neighbors) for one in candidates]
    trees = [merge_clusters(clusters, neighbors) for clusters in by_heads]
    best = []
    for place, number in enumerate(grid):
        finer = [
            trees[other].cut(number)[by_heads[other]]
            for other in range(place + 1, len(grid))
            if grid[other] <= max(2 * number, number + 3) and trees[other].num_clusters >= number
        ]
        best.append(_most_modular([by_heads[place], *finer], neighbors))
    return np.stack(best).astype(np.int32)


def _most_modular(
    clusterings: Sequence[np.ndarray] | np.ndarray, neighbors: np.ndarray
) -> np.ndarray:
    return max(clusterings, key=lambda clusters: modularity(clusters, neighbors))


def graph_of(rows: np.ndarray) -> npt.NDArray[np.int32]:
    """Find the neighbours that clusterings are measured by, each item itself not among them.

    Args:
        rows: Unit rows. Shape: (num_items, dim).

    Returns:
        Ten neighbours of each item, nearest first. Shape: (num_items, 10).
    """
    return nearest_neighbors(rows, min(len(rows), NUM_NEIGHBORS + 1))[:, 1:]

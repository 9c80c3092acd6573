"""Which of the trained heads is kept: criteria that need no labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spice_keras.metrics.modularity import modularity
from spice_keras.metrics.separation import separation

HeadScores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Clusters of every head [H, N] and the loss of each [H] to the score of each [H]; the head with
the highest is kept, and one of minus infinity never."""

UNEVEN_GAIN = 0.005
"""What heads for uneven clusters must gain in separation over those for even ones."""


def modularity_scores(clusters: np.ndarray, neighbors: np.ndarray) -> npt.NDArray[np.float64]:
    """Score heads by how much of the neighbour graph lies inside their clusters.

    The loss is what a head was trained to make small, so it hardly tells good heads from bad ones;
    its entropy term also favours heads that cut large groups into even parts.

    Args:
        clusters: Of every head for all items. Shape: (num_heads, num_samples).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_samples, num_neighbors).

    Returns:
        The modularity of each head's clusters. Shape: (num_heads,).
    """
    return np.array([modularity(head, neighbors) for head in clusters])


def head_scores(
    clusters: np.ndarray,
    losses: np.ndarray,
    *,
    neighbors: np.ndarray,
    rows: np.ndarray,
    groups: int,
    num_clusters: int,
) -> npt.NDArray[np.float64]:
    """Score heads that were trained for even clusters, or in two groups for both.

    Among heads for even clusters modularity chooses, among those for uneven ones the loss. Of two
    groups the uneven one is taken if its clusters are better separated: heads that cut large groups
    into even parts put borders where items are dense.

    Args:
        clusters: Of every head, group by group. Shape: (num_heads, num_samples).
        losses: Of every head. Shape: (num_heads,).
        neighbors: Nearest neighbours of each item, itself not among them.
        rows: Unit rows of the items. Shape: (num_samples, dim).
        groups: 1, or 2 with the heads for uneven clusters in the second half.
        num_clusters: K.

    Returns:
        Scores; those of a group that is not taken are minus infinity. Shape: (num_heads,).
    """
    if groups == 1:
        return modularity_scores(clusters, neighbors)
    taken = _better_separated(clusters, rows, num_clusters)
    scores = np.full(len(clusters), -np.inf)
    if taken.start:
        scores[taken] = -losses[taken]
    else:
        scores[taken] = modularity_scores(clusters[taken], neighbors)
    return scores


def loss_scores(
    clusters: np.ndarray, losses: np.ndarray, *, rows: np.ndarray, num_clusters: int
) -> npt.NDArray[np.float64]:
    """Score heads that were trained in two groups, for even clusters and for uneven ones.

    The group is chosen as `head_scores` chooses it, the head in it by the smallest loss.

    Args:
        clusters: Of every head, those for uneven clusters in the second half.
            Shape: (num_heads, num_samples).
        losses: Of every head. Shape: (num_heads,).
        rows: Unit rows of the items. Shape: (num_samples, dim).
        num_clusters: K.

    Returns:
        Scores; those of the group that is not taken are minus infinity. Shape: (num_heads,).
    """
    taken = _better_separated(clusters, rows, num_clusters)
    scores = np.full(len(clusters), -np.inf)
    scores[taken] = -losses[taken]
    return scores


def _better_separated(clusters: np.ndarray, rows: np.ndarray, num_clusters: int) -> slice:
    """The half of the heads to choose from: the second if its clusters are better separated."""
    half = len(clusters) // 2
    each = [separation(rows, head, num_clusters) for head in clusters]
    gain = float(np.mean(each[half:]) - np.mean(each[:half]))
    return slice(half, len(clusters)) if gain >= UNEVEN_GAIN else slice(0, half)

"""What can be said of each cluster alone: how tight it is, and what it mixes with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spice_keras.scratch import row_blocks

_ROWS = 2**16

SPLIT = 0.25
"""Share of a cluster's members that a second cluster of another head must hold to count."""


@dataclass(frozen=True, eq=False)
class ClusterLinks:
    """Figures of each of K clusters; NaN for an empty one.

    Attributes:
        kept: Share of its members' neighbours that are members too. float64 [K].
        mixes_with: The other cluster that most of its members' other neighbours are in, -1 if
            there is none. int64 [K].
        mixed_share: Share of its members' neighbours that are in that one. float64 [K].
        stability: How alike other heads draw it: the largest Jaccard index of one of their
            clusters with it, mean over the heads; NaN if there is no other head. float64 [K].
        split_share: Share of the other heads that put at least a quarter of its members into a
            second cluster; NaN if there is no other head. float64 [K].
    """

    kept: npt.NDArray[np.float64]
    mixes_with: npt.NDArray[np.int64]
    mixed_share: npt.NDArray[np.float64]
    stability: npt.NDArray[np.float64]
    split_share: npt.NDArray[np.float64]


def cluster_links(
    clusters: np.ndarray, neighbors: np.ndarray, heads: np.ndarray, num_clusters: int
) -> ClusterLinks:
    """Describe each cluster by the neighbours of its members and by what other heads say.

    Args:
        clusters: Cluster of each item, in 0..K-1. Shape: (num_samples,).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_samples, num_neighbors).
        heads: Clusters of the other heads. Shape: (num_heads, num_samples).
        num_clusters: K.

    Returns:
        The figures.

    Raises:
        ValueError: If the arrays are not of the same items.
    """
    clusters, neighbors, heads = map(np.asarray, (clusters, neighbors, heads))
    if not len(clusters) == len(neighbors) == heads.shape[1]:
        raise ValueError(
            "Clusters, neighbours and heads must be of the same items. Received: "
            f"clusters.shape={clusters.shape}, neighbors.shape={neighbors.shape}, "
            f"heads.shape={heads.shape}"
        )
    links = _shares(clusters, neighbors, num_clusters)
    kept = np.diagonal(links).copy()
    others = links.copy()
    np.fill_diagonal(others, -1.0)
    largest = np.where(np.isnan(others), -1.0, others)
    mixes_with = largest.argmax(axis=1)
    share = largest.max(axis=1)
    stability, split_share = _other_heads(clusters, heads, num_clusters)
    return ClusterLinks(
        kept,
        np.where(share > 0, mixes_with, -1),
        np.where(np.isnan(kept), np.nan, np.maximum(share, 0.0)),
        stability,
        split_share,
    )


def _shares(
    clusters: np.ndarray, neighbors: np.ndarray, num_clusters: int
) -> npt.NDArray[np.float64]:
    """Row k: where the neighbours of the members of k are. Shape: (K, K)."""
    counts = np.zeros((num_clusters, num_clusters))
    for rows in row_blocks(neighbors, _ROWS):
        own, theirs = clusters[rows], clusters[neighbors[rows]]
        np.add.at(counts, (np.repeat(own, neighbors.shape[1]), theirs.ravel()), 1.0)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)


def _other_heads(
    clusters: np.ndarray, heads: np.ndarray, num_clusters: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Stability of each cluster, and the share of heads that split it. Shapes: (K,)."""
    sizes = np.bincount(clusters, minlength=num_clusters).astype(np.float64)
    if not len(heads):
        return np.full(num_clusters, np.nan), np.full(num_clusters, np.nan)
    best, splits = np.zeros(num_clusters), np.zeros(num_clusters)
    for head in heads:
        table = np.zeros((num_clusters, max(2, int(head.max()) + 1)))
        np.add.at(table, (clusters, head), 1.0)
        union = sizes[:, np.newaxis] + table.sum(axis=0) - table
        best += np.max(table / np.maximum(union, 1.0), axis=1)
        second = np.sort(table, axis=1)[:, -2]
        splits += second >= SPLIT * np.maximum(sizes, 1.0)
    used = np.where(sizes > 0, 1.0, np.nan)
    return used * best / len(heads), used * splits / len(heads)

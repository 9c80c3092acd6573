"""Local consistency: which cluster labels are reliable enough to train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spice_keras.options import Balance
from spice_keras.scratch import row_blocks

_ROWS = 2**16


@dataclass(frozen=True)
class ReliableLabels:
    """The samples whose cluster label SPICE-Semi trains on.

    Attributes:
        indices: int64 sample indices, ascending. Shape: (num_reliable,).
        labels: int32 clusters of those samples. Shape: (num_reliable,).
        counts: int64 reliable samples of each cluster. Shape: (num_clusters,).
        repaired: Clusters that had members but too few reliable ones, and were filled up.
        empty: Clusters without any member.
    """

    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    repaired: tuple[int, ...]
    empty: tuple[int, ...]


def local_consistency(clusters: np.ndarray, neighbors: np.ndarray) -> npt.NDArray[np.float32]:
    """beta: the share of a sample's neighbours that are in its own cluster.

    Args:
        clusters: Cluster of each sample. Shape: (num_samples,).
        neighbors: Nearest neighbours of each sample, itself among them.
            Shape: (num_samples, num_neighbors).

    Returns:
        beta in [0, 1]. Shape: (num_samples,).

    Raises:
        ValueError: If the shapes disagree.

    SPICE (arXiv 2103.09382) Eq. 5, Sec. 3.3.
    """
    clusters, neighbors = np.asarray(clusters), np.asarray(neighbors)
    if clusters.ndim != 1 or neighbors.ndim != 2 or len(neighbors) != len(clusters):
        raise ValueError(
            "`clusters` must be (num_samples,) and `neighbors` (num_samples, num_neighbors). "
            f"Received: shapes {clusters.shape} and {neighbors.shape}"
        )
    agreeing = np.empty(len(clusters), np.int64)
    for rows in row_blocks(neighbors, _ROWS):
        same = clusters[neighbors[rows]] == clusters[rows, np.newaxis]
        agreeing[rows] = np.count_nonzero(same, axis=1)
    return agreeing.astype(np.float32) / np.float32(neighbors.shape[1])


def reliable_labels(
    clusters: np.ndarray,
    confidence: np.ndarray,
    consistency: np.ndarray,
    *,
    num_clusters: int,
    consistency_threshold: float,
    confidence_threshold: float,
    min_per_cluster: int,
    balance: Balance = "none",
    seed: int = 0,
    shares: np.ndarray | None = None,
) -> ReliableLabels:
    """Samples whose neighbours agree with them, and of which the head is sure.

    A label is reliable when beta > consistency_threshold and confidence > confidence_threshold,
    both strictly: the paper writes beta > tau (the released code >=), and 0 then switches a
    condition off. A cluster that has members but fewer than `min_per_cluster` reliable ones is
    filled up to that number (or to all its members) by falling beta, then falling confidence,
    so that no cluster is lost to the next stage.

    Args:
        clusters: Cluster of each sample, in 0..num_clusters-1. Shape: (num_samples,).
        confidence: Probability of that cluster, in [0, 1]. Shape: (num_samples,).
        consistency: beta of each sample, in [0, 1]. Shape: (num_samples,).
        num_clusters: K, at least 1.
        consistency_threshold: tau_c in [0, 1), 0.95 in the paper.
        confidence_threshold: In [0, 1); the paper has none, the released code 0.99.
        min_per_cluster: Fewest labels of a non-empty cluster; 0 leaves clusters as they are.
        balance: "min" keeps equally many labels of every cluster that has any, drawn at
            random: as many as the smallest has.
        seed: Seed of that draw.
        shares: For clusters that may differ in size, the share of the samples in each, 0 for
            an empty one. `min_per_cluster` is then for a cluster of average size, and "min" keeps
            labels in proportion to the shares. None for equal shares. Shape: (num_clusters,).

    Returns:
        The reliable labels.

    Raises:
        ValueError: If an argument is out of range or shapes disagree.

    SPICE (arXiv 2103.09382) Sec. 3.3; confidence and balancing from the released code.
    """
    clusters = np.asarray(clusters)
    confidence = np.asarray(confidence, np.float32)
    consistency = np.asarray(consistency, np.float32)
    _check_samples(clusters, confidence, consistency, num_clusters)
    _check_options(consistency_threshold, confidence_threshold, min_per_cluster, balance)
    if shares is not None and np.shape(shares) != (num_clusters,):
        raise ValueError(
            f"`shares` must hold one share for each of {num_clusters} clusters. "
            f"Received: shape {np.shape(shares)}"
        )
    # float32 on both sides: as float64, 0.99 is smaller than the float32 share 99/100.
    passing = consistency > np.float32(consistency_threshold)
    passing &= confidence > np.float32(confidence_threshold)

    sizes = np.bincount(clusters, minlength=num_clusters)
    wanted = np.minimum(sizes, _fewest_labels(min_per_cluster, shares))
    reliable = np.bincount(clusters[passing], minlength=num_clusters)
    repaired = tuple(int(cluster) for cluster in np.flatnonzero(reliable < wanted))
    order = np.lexsort((-confidence, -consistency, ~passing))
    kept = passing.copy()
    for cluster in repaired:
        members = order[clusters[order] == cluster]
        kept[members[: wanted[cluster]]] = True

    indices = np.flatnonzero(kept)
    if balance == "min":
        indices = _balanced(indices, clusters, seed, shares)
    return ReliableLabels(
        indices=indices.astype(np.int64),
        labels=clusters[indices].astype(np.int32),
        counts=np.bincount(clusters[indices], minlength=num_clusters).astype(np.int64),
        repaired=repaired,
        empty=tuple(int(cluster) for cluster in np.flatnonzero(sizes == 0)),
    )


def _fewest_labels(min_per_cluster: int, shares: np.ndarray | None) -> int | np.ndarray:
    """Fewest labels of each cluster; at least one of each, unless no cluster is to be filled up."""
    if shares is None or not min_per_cluster:
        return min_per_cluster
    scaled = min_per_cluster * len(shares) * np.asarray(shares, np.float64)
    return np.maximum(1, np.rint(scaled).astype(np.int64))


def labels_to_keep(counts: np.ndarray, shares: np.ndarray | None = None) -> npt.NDArray[np.int64]:
    """How many labels each cluster keeps so that all are kept in proportion to the shares.

    Args:
        counts: Labels that each cluster has, at least 1. Shape: (num_present,).
        shares: Above 0; None for equal ones. Shape: (num_present,).

    Returns:
        The most in that proportion, rounded down, but at least 1. With equal shares: for each
        cluster what the smallest has. Shape: (num_present,).

    Example:
        >>> labels_to_keep(np.array([40, 9, 30]), np.array([0.5, 0.1, 0.4])).tolist()
        [37, 7, 30]
    """
    counts = np.asarray(counts, np.int64)
    if shares is None:
        return np.full_like(counts, counts.min())
    shares = np.asarray(shares, np.float64)
    scarcest = int(np.argmin(counts / shares))
    # Rounding must not take a label from the cluster that sets the measure.
    kept = np.floor(shares * (counts[scarcest] / shares[scarcest]) + 1e-9).astype(np.int64)
    return np.clip(kept, 1, counts)


def _balanced(
    indices: np.ndarray, clusters: np.ndarray, seed: int, shares: np.ndarray | None
) -> np.ndarray:
    """Random indices of each cluster, in proportion to the shares, ascending."""
    if not len(indices):
        return indices
    present, counts = np.unique(clusters[indices], return_counts=True)
    kept = labels_to_keep(counts, None if shares is None else np.asarray(shares)[present])
    generator = np.random.default_rng(seed)
    chosen = [
        generator.choice(indices[clusters[indices] == cluster], number, replace=False)
        for cluster, number in zip(present, kept, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _check_samples(
    clusters: np.ndarray, confidence: np.ndarray, consistency: np.ndarray, num_clusters: int
) -> None:
    if clusters.ndim != 1 or not clusters.shape == confidence.shape == consistency.shape:
        raise ValueError(
            "`clusters`, `confidence` and `consistency` must all be (num_samples,). "
            f"Received: shapes {clusters.shape}, {confidence.shape}, {consistency.shape}"
        )
    if num_clusters < 1 or (
        len(clusters) and not 0 <= clusters.min() <= clusters.max() < num_clusters
    ):
        raise ValueError(
            f"`clusters` must lie in 0..num_clusters-1. Received: {num_clusters=}, "
            f"clusters={np.unique(clusters).tolist()[:20]}"
        )


def _check_options(
    consistency_threshold: float, confidence_threshold: float, min_per_cluster: int, balance: str
) -> None:
    for name, threshold in (
        ("consistency_threshold", consistency_threshold),
        ("confidence_threshold", confidence_threshold),
    ):
        if not 0 <= threshold < 1:
            raise ValueError(
                f"`{name}` must lie in [0, 1): a label has to exceed it. "
                f"Received: {name}={threshold}"
            )
    if min_per_cluster < 0:
        raise ValueError(f"`min_per_cluster` must not be negative. Received: {min_per_cluster=}")
    if balance not in ("none", "min"):
        raise ValueError(f'`balance` must be "none" or "min". Received: {balance=}')

"""Clusters for the heads to start from: another restart of k-means for each."""

from __future__ import annotations

from typing import Literal

import numpy as np

from spice_keras.algorithm.balanced_kmeans import balanced_kmeans
from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.spectral_starts import spectral_clusters
from spice_keras.metrics.kmeans_baseline import kmeans_clusters
from spice_keras.training.feature_bank import FeatureBank

Start = Literal["random", "kmeans", "balanced-kmeans", "spectral"]
_SPECTRAL_NEIGHBORS = 20


def start_clusters(
    bank: FeatureBank, start: Start, num_clusters: int, *, num_heads: int, seed: int
) -> np.ndarray | None:
    """Find the clusters that each head starts from.

    Args:
        bank: The features.
        start: How; ``"spectral"`` falls back to balanced k-means where the graph has no answer.
        num_clusters: K.
        num_heads: H.
        seed: Of the restarts.

    Returns:
        Integers [H, N]; None to start at random weights.
    """
    if start == "random":
        return None
    if start == "spectral":
        neighbors = _centered_neighbors(bank, num_clusters)
        found = spectral_clusters(neighbors, num_clusters, seed=seed, num_init=num_heads)
        if found is not None:
            return found
    if start in ("balanced-kmeans", "spectral"):
        return balanced_kmeans(
            bank.normalized, num_clusters, seed=seed, num_init=num_heads
        ).clusters
    seeds = np.random.default_rng(seed).integers(2**31, size=num_heads)
    return np.stack(
        [kmeans_clusters(bank.normalized, num_clusters, seed=one, num_init=1) for one in seeds]
    )


def _centered_neighbors(bank: FeatureBank, num_clusters: int) -> np.ndarray:
    """Neighbours by what sets embeddings apart: most encoders' share a large mean."""
    normalized = bank.normalized
    centered = l2_normalized(normalized - normalized.mean(axis=0))
    count = min(_SPECTRAL_NEIGHBORS, max(1, len(normalized) // (2 * num_clusters)))
    return bank.search(centered, min(len(normalized), 1 + count))[:, 1:]


def start_centroids(bank: FeatureBank, num_clusters: int, clusters: np.ndarray) -> np.ndarray:
    """Mean direction of each head's clusters [H, N]: [H, K, D], 0 for an empty one."""
    members = np.eye(num_clusters, dtype=np.float32)
    return np.stack([l2_normalized(members[head].T @ bank.normalized) for head in clusters])

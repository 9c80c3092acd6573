"""What can be said about a clustering without labels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import silhouette_score

from spice_keras.algorithm.local_consistency import local_consistency
from spice_keras.metrics.clustering import adjusted_rand_index
from spice_keras.scratch import gathered


def local_consistency_rate(clusters: np.ndarray, neighbors: np.ndarray) -> float:
    """Mean local consistency: how often near samples share a cluster.

    Args:
        clusters: Cluster of each sample. Shape: (num_samples,).
        neighbors: Nearest neighbours of each sample, itself among them.
            Shape: (num_samples, num_neighbors).

    Returns:
        Mean beta in [0, 1]. One big cluster reaches 1 as well: read it beside `size_balance`.

    Raises:
        ValueError: If the shapes disagree.

    SPICE (arXiv 2103.09382) Eq. 5, averaged over the samples.
    """
    return float(np.mean(local_consistency(clusters, neighbors), dtype=np.float64))


def head_agreement(assignments: np.ndarray) -> float:
    """How alike the heads cluster: the mean ARI of every two of them.

    Args:
        assignments: Cluster of each sample by each head, integers from 0.
            Shape: (num_heads, num_samples).

    Returns:
        Mean ARI in [-0.5, 1]; 1 for a single head.

    Raises:
        ValueError: If `assignments` is not a matrix of at least one head.

    SPICE (arXiv 2103.09382) Sec. 3.2 trains several heads; the comparison is this package's.
    """
    assignments = np.asarray(assignments)
    if assignments.ndim != 2 or not len(assignments):
        raise ValueError(
            "`assignments` must be (num_heads, num_samples) with at least one head. "
            f"Received: shape={assignments.shape}"
        )
    scores = [adjusted_rand_index(one, other) for one, other in combinations(assignments, 2)]
    return float(np.mean(scores)) if scores else 1.0


def cluster_sizes(clusters: np.ndarray, num_clusters: int) -> npt.NDArray[np.int64]:
    """Number of samples of each cluster, empty ones included.

    Args:
        clusters: Cluster of each sample, in 0..num_clusters-1. Shape: (num_samples,).
        num_clusters: K, at least 1.

    Returns:
        Counts that sum to num_samples. Shape: (num_clusters,).

    Raises:
        ValueError: If a cluster lies outside 0..num_clusters-1.

    SPICE (arXiv 2103.09382) Sec. 3.2 assumes them to be about equal.
    """
    clusters = np.asarray(clusters)
    if len(clusters) and not 0 <= clusters.min() <= clusters.max() < num_clusters:
        raise ValueError(
            f"`clusters` must lie in 0..num_clusters-1. Received: {num_clusters=}, "
            f"clusters from {clusters.min()} to {clusters.max()}"
        )
    return np.bincount(clusters, minlength=num_clusters).astype(np.int64)


def size_balance(sizes: npt.ArrayLike) -> float:
    """How even the clusters are: entropy of their sizes over its largest value.

    Args:
        sizes: Samples of each cluster, empty ones included. Shape: (num_clusters,).

    Returns:
        Balance in [0, 1]: 1 for equal sizes, 0 when all samples are in one of several clusters.

    Raises:
        ValueError: If the sizes are not a vector of counts with at least one sample.

    The entropy of SPICE's (arXiv 2103.09382) ablation, Table 4, of hard assignments.
    """
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 1 or not len(sizes) or sizes.min() < 0 or sizes.sum() <= 0:
        raise ValueError(
            "`sizes` must be (num_clusters,) counts with at least one sample. "
            f"Received: shape={sizes.shape}, sum={sizes.sum()}"
        )
    if len(sizes) == 1:
        return 1.0
    shares = sizes[sizes > 0] / sizes.sum()
    entropy = -np.sum(shares * np.log(shares))
    return float(np.clip(entropy / np.log(len(sizes)), 0.0, 1.0))


def silhouette(
    embeddings: np.ndarray, clusters: np.ndarray, *, max_samples: int = 2000, seed: int = 0
) -> float | None:
    """Mean silhouette by cosine distance: is a sample nearer to its cluster than to the next?

    Args:
        embeddings: Embeddings. Shape: (num_samples, dim).
        clusters: Cluster of each sample. Shape: (num_samples,).
        max_samples: Samples compared with each other, at least 2; of more samples as many are
            drawn at random.
        seed: Seed of that draw.

    Returns:
        Mean silhouette in [-1, 1], or None if it is not defined: fewer than two clusters
        among the compared samples, or each sample a cluster of its own.

    Raises:
        ValueError: If shapes disagree or `max_samples` is below 2.

    Rousseeuw (1987), doi:10.1016/0377-0427(87)90125-7.
    """
    embeddings, clusters = np.asarray(embeddings), np.asarray(clusters)
    if embeddings.ndim != 2 or clusters.shape != embeddings.shape[:1]:
        raise ValueError(
            "`embeddings` must be (num_samples, dim) and `clusters` (num_samples,). "
            f"Received: shapes {embeddings.shape} and {clusters.shape}"
        )
    if max_samples < 2:
        raise ValueError(f"`max_samples` must be at least 2. Received: {max_samples=}")
    if len(clusters) > max_samples:
        drawn = np.random.default_rng(seed).choice(len(clusters), max_samples, replace=False)
        embeddings, clusters = gathered(embeddings, drawn), clusters[drawn]
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return None
    score = silhouette_score(embeddings.astype(np.float32), clusters, metric="cosine")
    return float(score)


def embedding_std(embeddings: np.ndarray) -> float:
    """Collapse alarm: spread of L2-normalised embeddings, scaled by sqrt(dim).

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).

    Returns:
        Mean standard deviation of the dimensions times sqrt(dim), in [0, 1]: about 1 when the
        embeddings fill all directions alike, 0 when all are one point.

    Raises:
        ValueError: If `embeddings` is not a matrix with at least one sample.

    SimSiam (arXiv 2011.10566) Fig. 2 watches it.
    """
    embeddings = np.asarray(embeddings, np.float32)
    if embeddings.ndim != 2 or not embeddings.size:
        raise ValueError(
            "`embeddings` must be (num_samples, dim) with at least one sample. "
            f"Received: shape={embeddings.shape}"
        )
    deviation = np.std(embeddings, axis=0, dtype=np.float64)
    return float(np.mean(deviation) * np.sqrt(embeddings.shape[1]))

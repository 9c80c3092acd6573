"""Balanced spherical k-means: clusters of like size, from which clustering heads start."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spice_keras.scratch import row_blocks

# exp(-60) is small enough to count as no assignment and large enough for float32 to divide by.
_SMALLEST_EXPONENT = -60.0
_SINKHORN_ROUNDS = 10
_SETTLED_SHARE = 1e-3
_CHECKED = 2**16  # rows looked at at a time


class KMeansRestarts(NamedTuple):
    """What every restart found, the restart of largest objective first.

    Attributes:
        clusters: int32 cluster of each sample. Shape: (num_init, num_samples).
        centroids: float32 unit directions. Shape: (num_init, num_clusters, dim).
        objectives: float64 mean cosine of a sample to its centroid, descending.
            Shape: (num_init,).
    """

    clusters: npt.NDArray[np.int32]
    centroids: npt.NDArray[np.float32]
    objectives: npt.NDArray[np.float64]


def balanced_kmeans(
    embeddings: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    num_init: int = 10,
    balance: float = 1.0,
    temperature: float = 0.1,
    max_iterations: int = 30,
    max_samples: int = 20_000,
) -> KMeansRestarts:
    """Spherical k-means whose soft assignment is balanced by Sinkhorn's iteration.

    Each round assigns every sample to the centroids by cosine, scales the columns towards
    clusters of equal weight and moves each centroid to the weighted mean direction of its
    samples. Memory is N * K; a restart is found on at most `max_samples` rows, and then
    assigns all of them.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_clusters: K, between 1 and num_samples.
        seed: Seed of the starts and of the draw of `max_samples`.
        num_init: Restarts, each from centroids of its own, at least 1.
        balance: 1 asks for clusters of equal weight, 0 for none of it (soft spherical k-means);
            between them the scaling is damped.
        temperature: Softness of the assignment, in standard deviations of a sample's cosines to
            the centroids: the spread of cosines differs tenfold between encoders.
        max_iterations: Rounds of a restart; it ends earlier if assignments no longer change.
        max_samples: Rows a restart is found on, drawn at random if there are more.

    Returns:
        Clusters, centroids and objective of every restart, best first. Clusters can be empty
        if there are fewer distinct samples than clusters.

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.

    Sinkhorn balancing of cluster assignments as in SeLa (arXiv 1911.05371) Sec. 3.2, centroids as
    in spherical k-means (Dhillon and Modha 2001, doi:10.1023/A:1007612920971).
    """
    _check(embeddings, num_clusters, num_init, balance, temperature)
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    generator = np.random.default_rng(seed)
    fitted = rows
    if len(rows) > max(max_samples, num_clusters):
        chosen = generator.choice(len(rows), max(max_samples, num_clusters), replace=False)
        fitted = rows[np.sort(chosen)]
    restarts = []
    for _ in range(num_init):
        centroids = _spread_rows(fitted, num_clusters, generator)
        centroids, clusters = _restart(fitted, centroids, balance, temperature, max_iterations)
        if fitted is not rows:
            clusters = _assignment(rows @ centroids.T, balance, temperature).argmax(axis=1)
        restarts.append((_objective(rows, centroids, clusters), centroids, clusters))
    # A stable sort: equal objectives keep the order in which they were found.
    restarts.sort(key=lambda restart: -restart[0])
    objectives, all_centroids, all_clusters = zip(*restarts, strict=True)
    return KMeansRestarts(
        np.stack(all_clusters).astype(np.int32), np.stack(all_centroids), np.array(objectives)
    )


def _spread_rows(
    rows: np.ndarray, num_clusters: int, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """k-means++: rows drawn with probability in proportion to the squared distance so far."""
    chosen = [int(generator.integers(len(rows)))]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < num_clusters:
        newest = 1.0 - rows @ rows[chosen[-1]]
        distance = np.minimum(distance, np.maximum(newest, 0.0))
        # Rounding leaves a chosen row a little away from itself.
        distance[chosen[-1]] = 0.0
        total = distance.sum()
        # All rows left are duplicates of chosen ones: any will do.
        weights = distance / total if total > 0 else None
        chosen.append(int(generator.choice(len(rows), p=weights)))
    return rows[chosen]


def _restart(
    rows: np.ndarray,
    centroids: np.ndarray,
    balance: float,
    temperature: float,
    max_iterations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Centroids and clusters once the assignment has settled."""
    clusters = np.full(len(rows), -1)
    for _ in range(max_iterations):
        assignment = _assignment(rows @ centroids.T, balance, temperature)
        before, clusters = clusters, assignment.argmax(axis=1)
        if np.mean(before != clusters) <= _SETTLED_SHARE:
            break
        moved = assignment.T @ rows
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        # A cluster whose samples cancel out has no direction: it stays where it was.
        centroids = np.where(lengths > 1e-12, moved / np.maximum(lengths, 1e-12), centroids)
    return centroids, clusters


def _assignment(
    similarity: np.ndarray, balance: float, temperature: float
) -> npt.NDArray[np.float32]:
    """Sinkhorn's soft assignment, rows summing to 1. Overwrites the similarity to save memory."""
    spread = max(float(similarity.std(axis=1).mean()), 1e-6)
    similarity -= similarity.max(axis=1, keepdims=True)
    similarity /= temperature * spread
    np.maximum(similarity, _SMALLEST_EXPONENT, out=similarity)
    kernel = np.exp(similarity, out=similarity)
    share = np.float32(len(kernel) / kernel.shape[1])
    columns = np.ones(kernel.shape[1], np.float32)
    for _ in range(_SINKHORN_ROUNDS if balance > 0 else 0):
        rows = 1.0 / (kernel @ columns)
        columns = (share / (rows @ kernel)) ** np.float32(balance)
    kernel *= columns
    kernel /= kernel.sum(axis=1, keepdims=True)
    return kernel


def _objective(rows: np.ndarray, centroids: np.ndarray, clusters: np.ndarray) -> float:
    # Cluster by cluster: gathering a centroid for every row would copy the embeddings. All of them
    # are finite; now and then OpenBLAS 0.3.31 says otherwise of such a product (numpy#24067).
    with np.errstate(invalid="ignore"):
        total = sum(
            float(np.sum(rows[clusters == cluster] @ centroid, dtype=np.float64))
            for cluster, centroid in enumerate(centroids)
        )
    return total / len(rows)


def _check(
    embeddings: np.ndarray, num_clusters: int, num_init: int, balance: float, temperature: float
) -> None:
    blocks = row_blocks(embeddings, _CHECKED)
    if embeddings.ndim != 2 or not all(np.isfinite(embeddings[rows]).all() for rows in blocks):
        raise ValueError(
            "`embeddings` must be (num_samples, dim) and finite. "
            f"Received: shape={embeddings.shape}"
        )
    if not 1 <= num_clusters <= len(embeddings):
        raise ValueError(
            "Each cluster needs a sample: give more samples or ask for fewer clusters. "
            f"Received: num_samples={len(embeddings)}, {num_clusters=}"
        )
    if num_init < 1 or not 0 <= balance <= 1 or temperature <= 0:
        raise ValueError(
            "Expected num_init >= 1, balance in [0, 1] and temperature > 0. "
            f"Received: {num_init=}, {balance=}, {temperature=}"
        )

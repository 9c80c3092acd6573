"""Spectral clusters: cuts of the neighbour graph, from which clustering heads start."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from spice_keras.algorithm.balanced_kmeans import KMeansRestarts, balanced_kmeans
from spice_keras.algorithm.embeddings import l2_normalized

# A graph this small is decomposed in full: Lanczos needs many more nodes than eigenvectors.
_DENSE_NODES = 500
_TOLERANCE = 1e-4


def spectral_clusters(
    neighbors: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    num_init: int = 10,
    balance: float = 0.5,
    regularization: float = 0.1,
) -> KMeansRestarts:
    """Normalised cut of the graph that joins every sample with its neighbours.

    The rows of the leading eigenvectors of the normalised adjacency, scaled to unit length, are
    clustered by `balanced_kmeans`. k-means on embeddings draws every cluster around one centre;
    a cut follows whatever shape the neighbours connect, and hardly depends on the start. Every
    node is also joined weakly with all others, so that a few near-duplicates which know only
    each other do not become a cluster. Memory is N * (n + K).

    Args:
        neighbors: Rows of the neighbours of each sample, itself or not among them.
            Shape: (num_samples, num_neighbors).
        num_clusters: K, between 1 and num_samples.
        seed: Of the eigensolver's and the restarts' starts.
        num_init: Restarts of k-means on the same eigenvectors.
        balance: See `balanced_kmeans`.
        regularization: Weight of the joint of every node with all others, in mean degrees; > 0.

    Returns:
        Clusters of every restart, best first; centroids and objectives are those among the
        eigenvectors. Shape of a centroid: (num_clusters, num_clusters) or narrower.

    Raises:
        ValueError: If an argument is out of range.

    Ng, Jordan and Weiss (2001), "On spectral clustering"; regularised as in Amini et al. (2013),
    arXiv 1207.2340.
    """
    _check(neighbors, num_clusters, regularization)
    vectors = _leading_eigenvectors(neighbors, num_clusters, regularization, seed)
    return balanced_kmeans(
        l2_normalized(vectors), num_clusters, seed=seed, num_init=num_init, balance=balance
    )


def _leading_eigenvectors(
    neighbors: np.ndarray, count: int, regularization: float, seed: int
) -> npt.NDArray[np.float32]:
    """Eigenvectors of the `count` largest eigenvalues of D^-1/2 A D^-1/2, as columns."""
    graph = _adjacency(neighbors)
    num_nodes = graph.shape[0]
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    joint = np.float32(regularization * degrees.mean())
    scale = (degrees + joint) ** -0.5

    def product(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        # The weak joint of all nodes is a matrix of rank one and is never written out.
        product: np.ndarray = scale * (graph @ scaled + joint * scaled.mean())
        return product

    if num_nodes <= max(_DENSE_NODES, 3 * count):
        full = np.stack([product(row) for row in np.eye(num_nodes, dtype=np.float32)])
        return np.linalg.eigh(full)[1][:, -count:]
    operator = LinearOperator((num_nodes, num_nodes), matvec=product, dtype=np.float32)
    start = np.random.default_rng(seed).standard_normal(num_nodes).astype(np.float32)
    try:
        return eigsh(operator, k=count, which="LA", v0=start, tol=_TOLERANCE)[1]
    except ArpackNoConvergence as stopped:
        # Fewer directions still tell clusters apart; which ones have converged does not matter.
        found: npt.NDArray[np.float32] = stopped.eigenvectors
        return found if found.shape[1] else start[:, np.newaxis]


def _adjacency(neighbors: np.ndarray) -> sp.csr_matrix:
    """Symmetric graph: 1 where two samples name each other, 1/2 where one names the other."""
    num_samples, num_neighbors = neighbors.shape
    rows = np.repeat(np.arange(num_samples), num_neighbors)
    ones = np.ones(neighbors.size, np.float32)
    named = sp.csr_matrix((ones, (rows, neighbors.ravel())), (num_samples, num_samples))
    return (named + named.T) * np.float32(0.5)


def _check(neighbors: np.ndarray, num_clusters: int, regularization: float) -> None:
    if neighbors.ndim != 2 or not neighbors.size:
        raise ValueError(
            "`neighbors` must be (num_samples, num_neighbors) and not empty. "
            f"Received: shape={neighbors.shape}"
        )
    if neighbors.min() < 0 or neighbors.max() >= len(neighbors):
        raise ValueError(
            "`neighbors` must name rows of itself. Received: rows "
            f"{neighbors.min()}..{neighbors.max()} of {len(neighbors)}"
        )
    if not 1 <= num_clusters <= len(neighbors):
        raise ValueError(
            "Each cluster needs a sample: give more samples or ask for fewer clusters. "
            f"Received: num_samples={len(neighbors)}, {num_clusters=}"
        )
    if not regularization > 0:
        raise ValueError(f"`regularization` must be positive. Received: {regularization=}")

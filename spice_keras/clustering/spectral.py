"""Spectral clustering of the neighbour graph, as a start for clustering heads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.balanced_kmeans import balanced_kmeans

_BALANCE = 0.5  # half-way between plain k-means, which lets clusters vanish, and equal clusters
_TOLERANCE = 1e-4
_FEWEST_RESTARTS = 5


def spectral_embedding(
    neighbors: np.ndarray, num_directions: int, *, regularization: float = 0.1
) -> npt.NDArray[np.float32]:
    """Leading eigenvectors of the neighbour graph, so that whoever is linked lies near.

    The graph's weights are 1/2 for each direction in which two items are neighbours. A weak link
    from everyone to everyone is added: without it a few items far from all others take whole
    eigenvectors for themselves. Memory is N * (n + K), never N * N.

    Args:
        neighbors: Nearest neighbours of each item, itself not among them. Shape: (N, n).
        num_directions: Eigenvectors to find, from 1 to N - 1.
        regularization: Weight of the weak links, as a share of the mean degree.

    Returns:
        Unit rows. Shape: (N, num_directions).

    Raises:
        ValueError: If there are too few items for so many eigenvectors.

    Ng, Jordan and Weiss 2001, "On spectral clustering", with the regularised degrees of Qin and
    Rohe (arXiv 1309.4111).
    """
    num_items, width = neighbors.shape
    if not 1 <= num_directions < num_items:
        raise ValueError(
            "`num_directions` must lie between 1 and the number of items less one. "
            f"Received: num_directions={num_directions}, num_items={num_items}"
        )
    rows = np.repeat(np.arange(num_items), width)
    links = scipy.sparse.csr_matrix(
        (np.full(rows.size, 0.5, np.float32), (rows, neighbors.ravel())), (num_items, num_items)
    )
    links = (links + links.T).tocsr()
    degrees = np.asarray(links.sum(axis=1), np.float32).ravel()
    weak = np.float32(regularization * degrees.mean())
    scale = (degrees + weak) ** np.float32(-0.5)

    def product(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        return scale * (links @ scaled + weak * scaled.mean())

    operator = LinearOperator((num_items, num_items), matvec=product, dtype=np.float32)
    # Repeatable: a start of its own, and a generator for the directions that ARPACK draws once it
    # has used up those that the start leads to, as it does if the graph falls into parts.
    start = np.ones(num_items, np.float32)
    _, vectors = eigsh(
        operator, num_directions, which="LA", v0=start, tol=_TOLERANCE, rng=np.random.default_rng(0)
    )
    return l2_normalized(vectors)


def spectral_clusters(
    neighbors: np.ndarray, num_clusters: int, *, seed: int, num_init: int
) -> npt.NDArray[np.int32] | None:
    """Restarts of spectral clustering, half of them on the nearer half of the neighbours.

    Args:
        neighbors: Nearest neighbours of each item, nearest first. Shape: (N, n).
        num_clusters: K.
        seed: Seed of the restarts of k-means.
        num_init: Restarts to return.

    Returns:
        Clusters of each restart, in 0..K-1. Shape: (num_init, N). None if the graph has no K
        eigenvectors to give: too few items or neighbours, or no convergence.
    """
    num_items = len(neighbors)
    if not neighbors.shape[1] or num_items < 2 * num_clusters:
        return None
    widths = (max(1, neighbors.shape[1] // 2), neighbors.shape[1])
    counts = (num_init - num_init // 2, num_init // 2)
    found = []
    for number, (width, count) in enumerate(zip(widths, counts, strict=True)):
        if not count:
            continue
        try:
            rows = spectral_embedding(neighbors[:, :width], num_clusters)
        except ArpackNoConvergence:
            return None
        restarts = balanced_kmeans(
            rows,
            num_clusters,
            seed=seed + number,
            num_init=max(count, _FEWEST_RESTARTS),
            balance=_BALANCE,
        )
        found.append(restarts.clusters[:count])
    return np.concatenate(found)

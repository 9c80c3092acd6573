"""A few answers spread along the neighbour graph, over what was believed before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix


def spread_labels(
    neighbors: np.ndarray,
    prior: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    prior_weight: float = 0.03,
    num_steps: int = 100,
) -> npt.NDArray[np.float64]:
    """Class probabilities of every item, of a few known ones, their neighbours, and a prior.

    Each item takes on the mean of its neighbours and, with a small weight, its own prior; known
    items stay what they are. Two items are joined once for each of them that has the other among
    its nearest, so the graph is symmetric. The fixed point minimises

        sum_ij w_ij |f_i - f_j|^2 / 2 + prior_weight * sum_i d_i |f_i - prior_i|^2

    with d_i the number of item i's links. From the prior, each step comes nearer to it.

    Args:
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_samples, num_neighbors).
        prior: Probabilities before any answer, rows that sum to 1. Shape: (num_samples, K).
        rows: The known items, each once. Shape: (num_known,).
        labels: Their classes, from 0 to K - 1. Shape: (num_known,).
        prior_weight: Weight of the prior beside that of all neighbours together, above 0.
        num_steps: Steps.

    Returns:
        Rows that sum to 1. Shape: (num_samples, K).

    Raises:
        ValueError: If the arrays are not of the same items, or a class is out of range.

    Example:
        >>> import numpy as np
        >>> even = np.full((3, 2), 0.5)
        >>> chain = np.array([[1], [0], [1]])
        >>> spread_labels(chain, even, np.array([0]), np.array([1])).argmax(axis=1).tolist()
        [1, 1, 1]

    Zhu, Ghahramani and Lafferty, ICML 2003 (harmonic functions); Zhou et al., NIPS 2003 (prior).
    """
    neighbors, prior = np.asarray(neighbors), np.asarray(prior, np.float64)
    rows, labels = np.asarray(rows, np.int64), np.asarray(labels, np.int64)
    count, classes = prior.shape
    if len(neighbors) != count or rows.shape != labels.shape or prior_weight <= 0:
        raise ValueError(
            "Neighbours and prior must be of the same items, with one label for each known row "
            f"and a positive weight. Received: {neighbors.shape=}, {prior.shape=}, {rows.shape=}, "
            f"{labels.shape=}, {prior_weight=}"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"Labels must lie in 0..{classes - 1}. Received: {labels=}")
    links = _links(neighbors)
    degrees = np.asarray(links.sum(axis=1), np.float64).reshape(count, 1)
    pull = prior_weight * np.maximum(degrees, 1.0)
    known = np.eye(classes)[labels]
    found = prior.copy()
    found[rows] = known
    for _ in range(num_steps):
        found = (links @ found + pull * prior) / (degrees + pull)
        found[rows] = known
    return found


def _links(neighbors: np.ndarray) -> csr_matrix:
    """Directed links and their reverses, added up."""
    count, each = neighbors.shape
    starts = np.arange(0, count * each + 1, each)
    directed = csr_matrix((np.ones(count * each), neighbors.ravel(), starts), (count, count))
    return (directed + directed.T).tocsr()

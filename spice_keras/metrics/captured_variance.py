"""How much of the variance of embeddings a clustering holds, of what as many clusters can hold."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import ArpackError, eigsh

from spice_keras.scratch import gathered

_ROWS = 5000
_TOLERANCE = 1e-5  # of a variance, relative


def captured_variance(
    rows: np.ndarray, clusters: np.ndarray, num_clusters: int, *, seed: int = 0
) -> float:
    """Compare the variance between clusters with the most that K clusters can have between them.

    The means of K clusters vary along K - 1 directions at most, so the variance between them is
    at most that of the items along their first K - 1 principal directions.

    Args:
        rows: Embeddings, in the space that the clusters were found in. Shape: (num_samples, dim).
        clusters: Cluster of each item, in 0..num_clusters-1. Shape: (num_samples,).
        num_clusters: K, at least 2.
        seed: Seed of the 5,000 items that are read if there are more.

    Returns:
        The share, in [0, 1]; 0 if the rows are all the same.

    Example:
        >>> rows = np.repeat(np.eye(4), 5, axis=0)
        >>> print(f"{captured_variance(rows, np.repeat(np.arange(4), 5), 4):.2f}")
        1.00

    Ding and He (2004), "K-means clustering via principal component analysis", Sec. 3.
    """
    if len(rows) > _ROWS:
        drawn = np.sort(np.random.default_rng(seed).choice(len(rows), _ROWS, replace=False))
        rows, clusters = gathered(rows, drawn), clusters[drawn]
    centered = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    most = float(np.sum(_largest_variances(centered, num_clusters - 1)))
    sums = np.zeros((num_clusters, centered.shape[1]))
    np.add.at(sums, clusters, centered)
    sizes = np.maximum(np.bincount(clusters, minlength=num_clusters), 1)
    between = float(np.sum(np.square(sums) / sizes[:, np.newaxis])) / len(centered)
    return min(1.0, between / most) if most > 0.0 else 0.0


def _largest_variances(centered: np.ndarray, count: int) -> np.ndarray:
    """The largest variances along principal directions; all of them if there are fewer."""
    num_rows, dim = centered.shape
    product = centered.T @ centered if dim <= num_rows else centered @ centered.T
    product /= num_rows
    if 2 * count < len(product):
        start = np.random.default_rng(0).standard_normal(len(product))
        try:
            found = eigsh(product, count, v0=start, tol=_TOLERANCE, return_eigenvectors=False)
        except ArpackError:  # of a matrix with hardly anything in it
            found = np.linalg.eigvalsh(product)[-count:]
    else:
        found = np.linalg.eigvalsh(product)[-count:]
    return np.maximum(found, 0.0)

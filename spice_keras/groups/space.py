"""The space in which groups are looked for: directions of the features, in few dimensions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.heads.inference import unit_blocks

_DIMENSIONS = 64  # for the heads; the curves of 128 were the same
_SILHOUETTE_DIMENSIONS = 50


def group_space(features: np.ndarray) -> npt.NDArray[np.float32]:
    """Bring features into the space in which neighbours are looked for.

    Pooled ReLU features, which are all at least 0, are compared by the square root, and after
    their mean is taken away. Others are compared by direction.

    Args:
        features: Real numbers. Shape: (num_items, dim).

    Returns:
        Unit rows. Shape: (num_items, dim).
    """
    values = np.asarray(features, np.float32)
    if values.min() < 0.0:
        return _unit(values)
    rooted = _unit(np.sqrt(values))
    return _unit(rooted - rooted.mean(axis=0))


def reduced(rows: np.ndarray, dimensions: int = _DIMENSIONS) -> npt.NDArray[np.float32]:
    """Keep the leading principal components, so that heads train faster.

    Args:
        rows: Unit rows. Shape: (num_items, dim).
        dimensions: Components to keep; all of them if there are no more.

    Returns:
        Unit rows. Shape: (num_items, dimensions).
    """
    count = min(dimensions, rows.shape[1], len(rows) - 1)
    solver = "covariance_eigh" if len(rows) > rows.shape[1] else "full"
    return _unit(PCA(count, svd_solver=solver).fit_transform(rows.astype(np.float64)))


def for_silhouette(points: np.ndarray) -> npt.NDArray[np.float32]:
    """Keep the first 50 of the components that `reduced` found: where silhouettes are measured."""
    return l2_normalized(points[:, :_SILHOUETTE_DIMENSIONS])


def _unit(rows: np.ndarray) -> npt.NDArray[np.float32]:
    unit = np.empty(rows.shape, np.float32)
    for places, block in unit_blocks(rows):
        unit[places] = block
    return unit

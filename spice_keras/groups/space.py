"""The space in which groups are looked for: directions of the features, in few dimensions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.feature_space import FeatureSpace, fitted_space

_DIMENSIONS = 64  # for the heads; the curves of 128 were the same
_SILHOUETTE_DIMENSIONS = 50
_UNIT = FeatureSpace("unit")


def group_space(features: np.ndarray) -> npt.NDArray[np.float32]:
    """Bring features into the space in which neighbours are looked for.

    That is the space of a run's heads.

    Args:
        features: Real numbers. Shape: (num_items, dim).

    Returns:
        Unit rows. Shape: (num_items, dim).
    """
    values = np.asarray(features)
    return fitted_space(values).unit_rows(values)


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
    return _UNIT.unit_rows(PCA(count, svd_solver=solver).fit_transform(rows.astype(np.float64)))


def for_silhouette(points: np.ndarray) -> npt.NDArray[np.float32]:
    """Keep the first 50 of the components that `reduced` found: where silhouettes are measured."""
    return l2_normalized(points[:, :_SILHOUETTE_DIMENSIONS])

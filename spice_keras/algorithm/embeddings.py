"""Embeddings on the unit sphere, where the paper measures similarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spice_keras.scratch import row_blocks

_ROWS = 4096


def l2_normalized(
    features: np.ndarray, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Embeddings: features scaled to unit length, so that a dot product is a cosine.

    Args:
        features: One row a sample; a row of zeros stays zero. Shape: (num_samples, dim).
        out: Where the rows go, perhaps memory-mapped; None for a new array.

    Returns:
        Rows of length 1. Shape: (num_samples, dim).

    SPICE (arXiv 2103.09382) Sec. 3.2.
    """
    features = np.asarray(features)
    unit = np.empty(features.shape, np.float32) if out is None else out
    smallest = np.finfo(np.float32).tiny
    # A block at a time: temporary copies of all would take as much again, twice.
    for rows in row_blocks(features, _ROWS, unit):
        block = np.asarray(features[rows], np.float32)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        unit[rows] = block / np.maximum(lengths, smallest)
    return unit

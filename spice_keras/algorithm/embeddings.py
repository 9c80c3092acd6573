"""Embeddings on the unit sphere, where the paper measures similarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def l2_normalized(features: np.ndarray) -> npt.NDArray[np.float32]:
    """Embeddings: features scaled to unit length, so that a dot product is a cosine.

    Args:
        features: One row a sample; a row of zeros stays zero. Shape: (num_samples, dim).

    Returns:
        Rows of length 1. Shape: (num_samples, dim).

    SPICE (arXiv 2103.09382) Sec. 3.2.
    """
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, np.finfo(np.float32).tiny)

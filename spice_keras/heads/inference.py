"""A trained clustering head in plain NumPy: probabilities without a TensorFlow session."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spice_keras.algorithm.feature_space import FeatureSpace

_UNIT = FeatureSpace("unit")


def head_probabilities(
    features: np.ndarray, weights: Sequence[np.ndarray], space: FeatureSpace = _UNIT
) -> npt.NDArray[np.float64]:
    """Probability of each cluster under a head that reads unit rows times sqrt(D).

    Args:
        features: What the head reads, of any length of row. Shape: (num_samples, dim).
        weights: Kernel (inputs, outputs) and bias (outputs,) of each layer, input first; a ReLU
            lies between two layers.
        space: The feature space whose unit rows the head reads.

    Returns:
        Rows that sum to 1. Shape: (num_samples, num_clusters).

    SPICE (arXiv 2103.09382) Sec. 3.2 and Fig. 2.
    """
    layers = [np.asarray(weight, np.float64) for weight in weights]
    probabilities = np.empty((len(features), len(layers[-1])))
    for rows, unit in space.blocks(features):
        activations = unit * math.sqrt(features.shape[1])
        for kernel, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            activations = np.maximum(activations @ kernel + bias, 0.0)
        logits = activations @ layers[-2] + layers[-1]
        # Rounded, so that equal rows are equal whatever block they are in: the last bits of a
        # product of matrices depend on the place of a row.
        logits = logits.astype(np.float32).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities[rows] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities

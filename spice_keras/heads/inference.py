"""A trained clustering head in plain NumPy: probabilities without a TensorFlow session."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_ROWS = 4096


def unit_blocks(
    features: np.ndarray, block_size: int = _ROWS
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Rows scaled to unit length, a block at a time, so that float64 copies stay small.

    Args:
        features: Real numbers of any type and size. Shape: (num_samples, dim).
        block_size: Rows of a block, at least 1.

    Yields:
        Which rows, and those rows at length 1; a row of zeros stays zero. Shape: (rows, dim).
    """
    smallest = np.finfo(np.float64).tiny
    for start in range(0, len(features), block_size):
        rows = slice(start, start + block_size)
        block = features[rows].astype(np.float64)
        # The squares of very large or very small numbers are out of range.
        block /= np.maximum(np.abs(block).max(axis=1, keepdims=True), smallest)
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), smallest)
        yield rows, block


def head_probabilities(
    features: np.ndarray, weights: Sequence[np.ndarray]
) -> npt.NDArray[np.float64]:
    """Probability of each cluster under a head that reads unit rows times sqrt(D).

    Args:
        features: What the head reads, of any length of row. Shape: (num_samples, dim).
        weights: Kernel (inputs, outputs) and bias (outputs,) of each layer, input first; a ReLU
            lies between two layers.

    Returns:
        Rows that sum to 1. Shape: (num_samples, num_clusters).

    SPICE (arXiv 2103.09382) Sec. 3.2 and Fig. 2.
    """
    layers = [np.asarray(weight, np.float64) for weight in weights]
    probabilities = np.empty((len(features), len(layers[-1])))
    for rows, unit in unit_blocks(features):
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

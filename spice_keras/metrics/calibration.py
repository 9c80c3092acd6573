"""Calibrated confidence: probabilities that say how often an item lies where its cluster mostly is.

Heads of neighbour consistency are sure of nearly everything. One temperature for all items of a run
brings their mean confidence down to the share of items that are expected in the largest class of
their cluster, which figures without labels foretell (`expected_accuracy`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spice_keras.scratch import row_blocks

SHARPEST, SOFTEST = 0.2, 20.0
"""Smallest and largest temperature."""
CAUTION = 0.3
"""What is taken from the log-odds of the expected share. Without it, items said to be right nine
times in ten were right 84 times in a hundred on data sets left out."""
_STEPS = 30
_ROWS, _MOST_ROWS = 4096, 100_000
_SMALLEST = 1e-30


def tempered(
    probabilities: np.ndarray, temperature: float, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Divide the logits behind probabilities by a temperature.

    Args:
        probabilities: Rows that sum to 1. Shape: (num_samples, num_clusters).
        temperature: Above 0; above 1 it makes rows more even. 1 / T undoes T.
        out: Where the result goes, perhaps the same array; None for a new one.

    Returns:
        Rows that sum to 1, in the same order within a row. Shape: (num_samples, num_clusters).

    Guo et al. (arXiv 1706.04599) Sec. 4.2.
    """
    found = np.empty(probabilities.shape, np.float32) if out is None else out
    for rows in row_blocks(found, _ROWS):
        block = np.asarray(probabilities[rows], np.float64)
        logits = np.log(np.maximum(block, _SMALLEST)) / temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found[rows] = powers / powers.sum(axis=1, keepdims=True)
    return found


def temperature_for(probabilities: np.ndarray, expected: float) -> float:
    """Find the temperature at which the mean confidence is a given share.

    Args:
        probabilities: Rows that sum to 1; of very many, evenly spaced ones are read.
            Shape: (num_samples, num_clusters).
        expected: The mean of the largest probabilities that is wanted, in (0, 1).

    Returns:
        The temperature, from 0.2 to 20.

    Example:
        >>> import numpy as np
        >>> sure = np.array([[0.99, 0.01], [0.02, 0.98]])
        >>> softer = tempered(sure, temperature_for(sure, expected=0.8))
        >>> round(float(softer.max(axis=1).mean()), 3)
        0.8
    """
    probabilities = probabilities[:: max(1, len(probabilities) // _MOST_ROWS)]
    low, high = np.log(SHARPEST), np.log(SOFTEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        mean = tempered(probabilities, float(np.exp(middle))).max(axis=1).mean(dtype=np.float64)
        low, high = (middle, high) if mean > expected else (low, middle)
    return float(np.exp((low + high) / 2.0))


def tempered_weights(weights: Sequence[np.ndarray], temperature: float) -> list[np.ndarray]:
    """Divide the logits of a head by a temperature, in its weights.

    Args:
        weights: Kernel and bias of each layer, input first, of one head or of several.
        temperature: Above 0.

    Returns:
        The weights, the last kernel and bias divided by it.
    """
    *hidden, kernel, bias = weights
    scale = np.float32(1.0 / temperature)
    return [*hidden, kernel * scale, bias * scale]


def cautious(share: float) -> float:
    """Lower an expected share by `CAUTION` in log-odds.

    Args:
        share: In (0, 1).

    Returns:
        The mean confidence that a run's items are given.
    """
    odds = np.log(share / (1.0 - share)) - CAUTION
    return float(1.0 / (1.0 + np.exp(-odds)))

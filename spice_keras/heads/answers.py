"""What a person's answers teach: labels spread from them, and a head retrained on those."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.label_spreading import spread_labels
from spice_keras.heads.soft_targets import fit_soft_targets

_LINKS = 10
_SHARPNESS = 2


@dataclass(frozen=True, eq=False)
class Taught:
    """A linear head after some answers.

    Attributes:
        kernel: float32; it reads unit rows. Shape: (dim, K).
        bias: float32. Shape: (K,).
        targets: What it was fitted to: the answers, and what they made of all others.
            Shape: (num_samples, K).
    """

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float64]


def learn_answers(
    unit_rows: np.ndarray,
    neighbors: np.ndarray,
    prior: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
) -> Taught:
    """Retrain a head with some items' classes known.

    The answers spread along the neighbour graph over what was believed before; the head is then
    fitted to the spread probabilities, squared and normalised, so that it does not learn their
    softness.

    Args:
        unit_rows: Features of unit length. Shape: (num_samples, dim).
        neighbors: Nearest neighbours of each item, itself not among them, best first.
            Shape: (num_samples, num_neighbors).
        prior: Probabilities before the answers. Shape: (num_samples, K).
        rows: The items that are known, each once. Shape: (num_known,).
        labels: Their classes. Shape: (num_known,).

    Returns:
        The head.

    Raises:
        ValueError: If the arrays are not of the same items, or a class is out of range.
    """
    spread = spread_labels(neighbors[:, :_LINKS], prior, rows, labels)
    sharp = spread**_SHARPNESS
    targets = sharp / sharp.sum(axis=1, keepdims=True)
    return Taught(*fit_soft_targets(unit_rows, targets), targets)

"""What a person's answers teach: labels spread from them, and a head retrained on those."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.label_spreading import spread_labels
from spice_keras.heads.soft_targets import fit_soft_targets

_LINKS = 10
_SHARPNESS = 2
_LARGEST_SCALE, _HALVINGS = 100.0, 30


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
    softness. At the end its weights are scaled until it is as sure as the prior was on average.

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
    kernel, bias = fit_soft_targets(unit_rows, targets)
    scale = _scale(np.asarray(unit_rows) @ kernel + bias, float(prior.max(axis=1).mean()))
    return Taught(kernel * scale, bias * scale, targets)


def images_that_stay(
    unit_rows: np.ndarray, automatic: np.ndarray, clusters: np.ndarray, fixed: np.ndarray
) -> npt.NDArray[np.int64]:
    """Choose images that a person left where they were when taking others out of their cluster.

    If nothing spoke for the rest, all of it would follow the few that were taken out. So of each
    cluster as many images stand for what stays as were taken out, less those that a person placed
    there; they are those least like what was taken out, and at most half of the rest.

    Args:
        unit_rows: Features of unit length. Shape: (num_samples, dim).
        automatic: Cluster of each item before the answers. Shape: (num_samples,).
        clusters: Cluster of each item after them, in any numbers. Shape: (num_samples,).
        fixed: bool, the items that a person placed. Shape: (num_samples,).

    Returns:
        Rows of items that nobody placed, sorted. Shape: (num_staying,).
    """
    found: list[npt.NDArray[np.int64]] = []
    for cluster in np.unique(automatic):
        members = np.flatnonzero(automatic == cluster)
        rest = members[~fixed[members]]
        if not len(rest):
            continue
        away = clusters[members] != clusters[rest[0]]  # nobody placed the rest: it is in one place
        left = members[away]
        count = min(len(left) - int((fixed[members] & ~away).sum()), len(rest) // 2)
        if count > 0:
            likeness = unit_rows[rest] @ unit_rows[left].mean(axis=0)
            found.append(rest[np.argsort(likeness, kind="stable")[:count]])
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)


def _scale(logits: np.ndarray, confidence: float) -> np.float32:
    """The factor, at least 1, at which the mean largest probability is what it was before.

    A head that is held to small weights is unsure of everything; no row changes its class.
    """
    logits = logits - logits.max(axis=1, keepdims=True)
    low, high = 1.0, _LARGEST_SCALE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = float((1.0 / np.exp(middle * logits).sum(axis=1)).mean())
        low, high = (middle, high) if found < confidence else (low, middle)
    return np.float32(low)

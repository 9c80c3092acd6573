"""CE and TCE of Table 4, and the entropy term, with plain loops."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.double_softmax import double_softmax_cross_entropy, softmax


def cross_entropy(labels: np.ndarray, logits: np.ndarray, temperature: float) -> np.ndarray:
    losses = []
    for label, row in zip(labels, logits, strict=True):
        scores = [float(value) / temperature for value in row]
        largest = max(scores)
        total = math.log(sum(math.exp(score - largest) for score in scores)) + largest
        losses.append(total - scores[label])
    return np.array(losses)


def pair_losses(
    labels: np.ndarray, logits: np.ndarray, loss: str, temperature: float
) -> np.ndarray:
    if loss == "double-softmax":
        return double_softmax_cross_entropy(labels, logits)
    return cross_entropy(labels, logits, temperature if loss == "temperature" else 1.0)


def entropy_term(logits: np.ndarray, weight: float) -> float:
    rows = [softmax([float(value) for value in row]) for row in logits]
    total = 0.0
    for cluster in range(logits.shape[1]):
        mean = sum(row[cluster] for row in rows) / len(rows)
        total += mean * math.log(mean) if mean > 0.0 else 0.0
    return weight * total

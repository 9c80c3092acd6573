"""Eq. 2 of SCAN in plain loops and float64: -ln of the dot product, and entropy of the mean."""

from __future__ import annotations

import math

import numpy as np


def softmax(logits: np.ndarray) -> list[float]:
    largest = max(float(logit) for logit in logits)
    powers = [math.exp(float(logit) - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def neighbor_consistency(logits: np.ndarray, neighbor_logits: np.ndarray) -> np.ndarray:
    losses = []
    for ours, theirs in zip(logits, neighbor_logits, strict=True):
        p, q = softmax(ours), softmax(theirs)
        losses.append(-math.log(sum(a * b for a, b in zip(p, q, strict=True))))
    return np.array(losses)


def mean_entropy(logits: np.ndarray) -> float:
    probabilities = [softmax(row) for row in logits]
    means = [sum(column) / len(probabilities) for column in zip(*probabilities, strict=True)]
    return -sum(mean * math.log(mean) for mean in means if mean > 0)


def head_loss(logits: np.ndarray, neighbors: np.ndarray, entropy_weight: float) -> float:
    total = 0.0
    for sample, row in enumerate(neighbors):
        for neighbor in row:
            pair = neighbor_consistency(logits[sample][None], logits[neighbor][None])
            total += float(pair[0])
    return total / neighbors.size - entropy_weight * mean_entropy(logits)

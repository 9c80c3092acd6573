"""Eq. 4 of SPICE: p' = softmax(p) of the probabilities p, then -ln p'."""

from __future__ import annotations

import math

import numpy as np


def softmax(values: list[float]) -> list[float]:
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / sum(powers) for power in powers]


def double_softmax_cross_entropy(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    losses = []
    for label, row in zip(labels, logits, strict=True):
        twice = softmax(softmax([float(logit) for logit in row]))
        losses.append(-math.log(twice[label]))
    return np.array(losses)

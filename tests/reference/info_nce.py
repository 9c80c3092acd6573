"""InfoNCE from the text of MoCo, Eq. 1: one query, one positive, K negatives at a time."""

from __future__ import annotations

import math

import numpy as np


def info_nce(
    queries: np.ndarray, keys: np.ndarray, queue: np.ndarray, temperature: float
) -> np.ndarray:
    losses = []
    for query, key in zip(queries, keys, strict=True):
        positive = math.exp(sum(a * b for a, b in zip(query, key, strict=True)) / temperature)
        total = positive
        for negative in queue:
            similarity = sum(a * b for a, b in zip(query, negative, strict=True))
            total += math.exp(similarity / temperature)
        losses.append(-math.log(positive / total))
    return np.array(losses)

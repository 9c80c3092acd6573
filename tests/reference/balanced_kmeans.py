"""Sinkhorn's balanced assignment in plain loops and float64."""

from __future__ import annotations

import math

import numpy as np


def assignment(
    similarity: np.ndarray, balance: float, temperature: float, rounds: int
) -> np.ndarray:
    """Rows sum to 1; with balance 1 and enough rounds the columns sum to N / K."""
    num_samples, num_clusters = similarity.shape
    spread = sum(float(np.std(row)) for row in similarity) / num_samples
    kernel = np.empty((num_samples, num_clusters))
    for sample, row in enumerate(similarity):
        for cluster, cosine in enumerate(row):
            kernel[sample, cluster] = math.exp((cosine - max(row)) / (temperature * spread))
    columns = [1.0] * num_clusters
    for _ in range(rounds):
        rows = []
        for row in kernel:
            rows.append(1.0 / sum(w * c for w, c in zip(row, columns, strict=True)))
        for cluster in range(num_clusters):
            weight = sum(r * w for r, w in zip(rows, kernel[:, cluster], strict=True))
            columns[cluster] = (num_samples / num_clusters / weight) ** balance
    result = kernel * np.array(columns)
    for row in result:
        row /= row.sum()
    return result

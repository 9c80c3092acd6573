"""Captured variance, from singular values and a loop over clusters."""

from __future__ import annotations

import numpy as np


def captured_variance(rows: np.ndarray, clusters: np.ndarray, num_clusters: int) -> float:
    """The variance between clusters over that of the first K - 1 principal directions."""
    middle = sum(np.float64(row) for row in rows) / len(rows)
    singular = np.linalg.svd(rows - middle, compute_uv=False)
    between = 0.0
    for cluster in range(num_clusters):
        own = rows[clusters == cluster]
        if len(own):
            away = own.mean(axis=0) - middle
            between += len(own) * float(away @ away)
    return between / sum(float(value) ** 2 for value in singular[: num_clusters - 1])

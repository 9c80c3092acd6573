"""Separation: how much nearer items are to their own cluster than to the next one."""

from __future__ import annotations

import numpy as np

from spice_keras.scratch import row_blocks

_ROWS = 2**16  # at a time; of fewer, no bit depends on it


def separation(rows: np.ndarray, clusters: np.ndarray, num_clusters: int) -> float:
    """Measure how much nearer items are to their own cluster's mean direction than to the next.

    Args:
        rows: Unit rows. Shape: (num_samples, dim).
        clusters: Cluster of each item, in 0..num_clusters-1. Shape: (num_samples,).
        num_clusters: K.

    Returns:
        Mean difference of the cosines to the own mean direction and to the best other one; 0 with
        fewer than two clusters in use.

    The centroid form of the silhouette (Hruschka, de Castro and Campello 2004).
    """
    used = np.unique(clusters)
    if len(used) < 2:
        return 0.0
    members = np.eye(num_clusters, dtype=rows.dtype)
    sums = np.zeros((num_clusters, rows.shape[1]), rows.dtype)
    for part in row_blocks(rows, _ROWS):
        sums += members[clusters[part]].T @ rows[part]
    sums = sums[used]
    directions = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    own, apart = np.searchsorted(used, clusters), np.empty(len(rows), rows.dtype)
    for part in row_blocks(rows, _ROWS):
        cosines = rows[part] @ directions.T
        places = np.arange(len(cosines))
        ours = cosines[places, own[part]]
        cosines[places, own[part]] = -np.inf
        apart[part] = ours - cosines.max(axis=1)
    return float(np.mean(apart))

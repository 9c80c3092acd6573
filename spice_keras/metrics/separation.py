"""Separation: how much nearer items are to their own cluster than to the next one."""

from __future__ import annotations

import numpy as np


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
    members = np.eye(num_clusters, dtype=rows.dtype)[clusters]
    sums = (members.T @ rows)[used]
    directions = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    cosines = rows @ directions.T
    places, own = np.arange(len(rows)), np.searchsorted(used, clusters)
    ours = cosines[places, own]
    cosines[places, own] = -np.inf
    return float(np.mean(ours - cosines.max(axis=1)))

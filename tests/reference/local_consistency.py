"""Eq. 5 of SPICE: count the neighbours of the own cluster; reliable when beta > tau."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def local_consistency(clusters: np.ndarray, neighbors: np.ndarray) -> list[Fraction]:
    betas = []
    for cluster, row in zip(clusters, neighbors, strict=True):
        agreeing = 0
        for neighbor in row:
            if clusters[neighbor] == cluster:
                agreeing += 1
        betas.append(Fraction(agreeing, len(row)))
    return betas


def reliable_labels(
    clusters: list[int],
    confidence: list[float],
    consistency: list[float],
    num_clusters: int,
    consistency_threshold: float,
    confidence_threshold: float,
    min_per_cluster: int,
) -> tuple[list[int], list[int], list[int]]:
    """Kept samples, repaired clusters, empty clusters."""
    kept: list[int] = []
    repaired = []
    empty = []
    for cluster in range(num_clusters):
        members = [i for i, other in enumerate(clusters) if other == cluster]
        passing = [
            i
            for i in members
            if consistency[i] > consistency_threshold and confidence[i] > confidence_threshold
        ]
        rest = [i for i in members if i not in passing]
        rest.sort(key=lambda i: (-consistency[i], -confidence[i]))
        missing = min(min_per_cluster, len(members)) - len(passing)
        if not members:
            empty.append(cluster)
        if missing > 0:
            repaired.append(cluster)
            passing += rest[:missing]
        kept += passing
    return sorted(kept), repaired, empty

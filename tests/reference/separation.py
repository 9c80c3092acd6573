"""Slow twin of the separation of clusters: one item and one cluster at a time."""

from __future__ import annotations

import math


def _unit(row: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in row))
    return [value / max(length, 1e-12) for value in row]


def separation(rows: list[list[float]], clusters: list[int]) -> float:
    """Mean of: cosine to the own mean direction, minus the largest to another one's."""
    used = sorted(set(clusters))
    if len(used) < 2:
        return 0.0
    directions = {
        cluster: _unit(
            [
                math.fsum(column)
                for column in zip(
                    *(r for r, c in zip(rows, clusters, strict=True) if c == cluster), strict=True
                )
            ]
        )
        for cluster in used
    }
    total = 0.0
    for row, own in zip(rows, clusters, strict=True):
        cosines = {
            cluster: math.fsum(a * b for a, b in zip(row, direction, strict=True))
            for cluster, direction in directions.items()
        }
        total += cosines[own] - max(value for cluster, value in cosines.items() if cluster != own)
    return total / len(rows)

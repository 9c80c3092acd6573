"""Slow twin of the feature space, one row and one value at a time."""

from __future__ import annotations

import math


def _unit(row: list[float], shortest: float) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in row))
    return [value / max(length, shortest) for value in row]


def centered_rows(rows: list[list[float]], *, rooted: bool) -> list[list[float]]:
    """Unit rows (of signed roots), minus their mean, at unit length again."""
    if rooted:
        rows = [[math.copysign(math.sqrt(abs(v)), v) for v in row] for row in rows]
    rows = [_unit(row, 5e-324) for row in rows]
    mean = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    differences = [[v - m for v, m in zip(row, mean, strict=True)] for row in rows]
    return [_unit(row, 1e-4) for row in differences]

"""Refusal of parameters that are out of range."""

from __future__ import annotations


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises a ValueError unless `low <= value <= high`."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}]. Received: {name}={value}")


def check_shares(**values: float) -> None:
    """Raises a ValueError unless every value is in [0, 1]."""
    for name, value in values.items():
        check_range(name, value, 0.0, 1.0)

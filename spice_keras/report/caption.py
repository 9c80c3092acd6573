"""The words of one figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """Title, visible caption and alternative text of a figure."""

    title: str
    text: str
    alternative: str

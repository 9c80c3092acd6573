"""How the report writes numbers: one spelling for missing values, shares, counts and durations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MISSING = "\N{EN DASH}"


def finite(value: object) -> float | None:
    """Reads a number that may be missing.

    Args:
        value: a number, or None, NaN, an infinity or anything that is not a number.

    Returns:
        The number as a float; None if it is missing or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def decimal(value: object, digits: int = 3) -> str:
    """Writes a number with a fixed number of decimals, an en dash if there is none."""
    number = finite(value)
    return MISSING if number is None else f"{number:.{digits}f}"


def percent(value: object, digits: int = 1) -> str:
    """Writes a share in [0, 1] as a percentage, an en dash if there is none."""
    number = finite(value)
    return MISSING if number is None else f"{100 * number:.{digits}f}\N{NO-BREAK SPACE}%"


def count(value: int) -> str:
    """Writes a whole number with thousands separators."""
    return f"{int(value):,}"


def quantity(number: int, singular: str) -> str:
    """Writes a count with its noun, in the plural unless it is 1."""
    return f"{count(number)} {singular if number == 1 else singular + 's'}"


def shortened_middle(text: str, limit: int) -> str:
    """Cuts a name to at most `limit` characters; keeps more of the end, where names differ most."""
    if len(text) <= limit:
        return text
    end = 2 * (limit - 1) // 3
    return f"{text[: limit - 1 - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"


def duration(seconds: object) -> str:
    """Writes a time span in seconds as a reader says it: '8.3 s', '2 min 5 s', '1 h 20 min'."""
    number = finite(seconds)
    if number is None:
        return MISSING
    if number < 59.95:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(number / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def percent_shares(counts: Sequence[int]) -> list[str]:
    """Writes counts as percentages that add up to exactly 100.0.

    Tenths of a percent are handed out by the largest remainder, so that a reader who adds the
    printed column finds 100 and not 99.7.

    Args:
        counts: non-negative counts, one per part.

    Returns:
        One percentage per part; all zero if the counts are.
    """
    parts = np.asarray(counts, dtype=np.int64)
    total = int(parts.sum())
    if total == 0:
        return [percent(0.0) for _ in parts]
    tenths, remainders = np.divmod(parts * 1000, total)
    missing = 1000 - int(tenths.sum())
    tenths[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return [percent(int(tenth) / 1000) for tenth in tenths]


def plain(value: Any) -> str:
    """Writes any setting or measurement as plain text, lists and mappings included."""
    if value is None:
        return MISSING
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return MISSING if finite(value) is None else f"{float(value):.6g}"
    return str(value)


def cluster_list(clusters: Sequence[int], limit: int = 12) -> str:
    """Names clusters in a sentence, the first `limit` of them: "clusters 0, 1 and 9 more"."""
    noun = "cluster" if len(clusters) == 1 else "clusters"
    rest = f" and {len(clusters) - limit} more" if len(clusters) > limit else ""
    return f"{noun} {', '.join(map(str, clusters[:limit]))}{rest}"

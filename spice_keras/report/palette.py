"""The colours of the report: one per cluster, the same in every figure and beside every card."""

from __future__ import annotations

import colorsys

INK = "#1f2937"
MUTED = "#6b7280"
GRID = "#e5e7eb"
PALE = "#d1d5db"
ACCENT = "#2563eb"
WARNING = "#c2410c"
LIGHT = "#bfd3f7"
FAINT = "#f1f3f6"

CURVES = ("#2563eb", "#c2410c", "#0f9f8f", "#a855a5")

# Found by search: at least 3:1 against white, and at least 29 apart (CIE L*a*b*) for every two of
# them, also to who sees no red or no green.
_DISTINCT = (
    "#1e78b4",
    "#f06900",
    "#690f2d",
    "#3c9696",
    "#8769ff",
    "#870f00",
    "#0000f0",
    "#d2785a",
    "#69005a",
    "#3c0f96",
)
_LEAST_CONTRAST = 3.05

SHAPES = {
    "o": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
    "s": "M2.5 2.5h11v11h-11z",
    "^": "M8 2L14.5 13.5H1.5z",
    "D": "M8 1L15 8L8 15L1 8z",
    "v": "M8 14L1.5 2.5H14.5z",
    "P": "M5.7 1.5h4.6v4.2h4.2v4.6h-4.2v4.2h-4.6v-4.2h-4.2v-4.6h4.2z",
    "h": "M8 1.2L13.9 4.6V11.4L8 14.8L2.1 11.4V4.6z",
    "X": "M4.5 1.5L8 5l3.5-3.5 3 3L11 8l3.5 3.5-3 3L8 11l-3.5 3.5-3-3L5 8 1.5 4.5z",
    "<": "M2 8L13.5 1.5V14.5z",
    "*": "M8 1l2 4.7 5 .4-3.8 3.3 1.2 5L8 11.7 3.6 14.4l1.2-5L1 6.1l5-.4z",
    ">": "M14 8L2.5 1.5V14.5z",
}
"""Matplotlib's markers that tell clusters apart without their colour, as paths in a square of 16.

Eleven: beside ten colours, or three lightnesses, the same pair comes late.
"""
_GOLDEN_RATIO = 0.618033988749895


def cluster_colors(num_clusters: int) -> list[str]:
    """Gives every cluster a colour of its own.

    Args:
        num_clusters: K, at least 0.

    Returns:
        K colours as "#rrggbb". Up to ten are safe for the colour-blind; beyond, hues step by the
        golden ratio so that neighbouring clusters differ most, in three lightnesses. Each has a
        contrast of at least 3:1 against white.
    """
    if num_clusters <= len(_DISTINCT):
        return list(_DISTINCT[:num_clusters])
    return [_stepped(cluster) for cluster in range(num_clusters)]


def marker(cluster: int) -> str:
    """Gives a cluster its shape in the maps and beside its card."""
    return [*SHAPES][cluster % len(SHAPES)]


def contrast_with_white(color: str) -> float:
    """Works out the contrast of a colour against white.

    Args:
        color: "#rrggbb".

    Returns:
        The ratio of WCAG 2, from 1 to 21.
    """
    values = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def _stepped(cluster: int) -> str:
    """A colour by its place on the wheel, as light as its contrast allows."""
    hue = (0.58 + cluster * _GOLDEN_RATIO) % 1.0
    lightness = (0.46, 0.60, 0.30)[cluster % 3]
    while True:
        parts = colorsys.hls_to_rgb(hue, lightness, 0.62)
        color = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        if contrast_with_white(color) >= _LEAST_CONTRAST:
            return color
        lightness -= 0.01

"""The colours of the report: one per cluster, the same in every figure and beside every card."""

from __future__ import annotations

import colorsys

INK = "#1f2937"
MUTED = "#6b7280"
GRID = "#e5e7eb"
PALE = "#d1d5db"
ACCENT = "#2563eb"
WARNING = "#c2410c"

_DISTINCT = (
    "#3b76b0",
    "#e8862e",
    "#4d9a4a",
    "#cf4446",
    "#8c6bb8",
    "#8a6150",
    "#d675b4",
    "#7d7d7d",
    "#b3ad2f",
    "#3fb0c0",
)
_GOLDEN_RATIO = 0.618033988749895


def cluster_colors(num_clusters: int) -> list[str]:
    """Gives every cluster a colour of its own.

    Args:
        num_clusters: K, at least 0.

    Returns:
        K colours as "#rrggbb". Up to ten are hand-picked; beyond, hues step by the golden ratio
        so that neighbouring clusters differ most, in three lightnesses.
    """
    if num_clusters <= len(_DISTINCT):
        return list(_DISTINCT[:num_clusters])
    colors = []
    for cluster in range(num_clusters):
        hue = (0.58 + cluster * _GOLDEN_RATIO) % 1.0
        lightness = (0.46, 0.60, 0.34)[cluster % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        colors.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return colors

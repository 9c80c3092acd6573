"""The colours of the report: one per cluster, the same in every figure and beside every card."""

from __future__ import annotations

import colorsys

INK = "#1f2937"
MUTED = "#6b7280"
GRID = "#e5e7eb"
PALE = "#d1d5db"
ACCENT = "#2563eb"
WARNING = "#c2410c"

CURVES = ("#2563eb", "#c2410c", "#0f9f8f", "#a855a5")

# Petroff's ten (arXiv 2107.02270): told apart also by who sees no red or no green.
_DISTINCT = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
_GOLDEN_RATIO = 0.618033988749895


def cluster_colors(num_clusters: int) -> list[str]:
    """Gives every cluster a colour of its own.

    Args:
        num_clusters: K, at least 0.

    Returns:
        K colours as "#rrggbb". Up to ten are safe for the colour-blind; beyond, hues step by the
        golden ratio so that neighbouring clusters differ most, in three lightnesses.
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

"""The figure of how time and memory grow with the number of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_growth(results: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw seconds and added memory over N, a line for each part.

    Args:
        results: Of the rows; those without `growth` are left out.
        path: An SVG file.

    Returns:
        Whether there were two sizes to join by a line; else nothing is written.
    """
    found = sorted((row["growth"] for row in results if "growth" in row), key=lambda g: g["count"])
    if len(found) < 2:
        return False
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for growth in found for name in growth["costs"]))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    units = ("seconds", "megabytes")
    for panel, unit in zip(panels, units, strict=True):
        for name, marker in zip(names, "osD^vP", strict=False):
            points = [
                (growth["count"], growth["costs"][name][unit])
                for growth in found
                if name in growth["costs"]
            ]
            panel.plot(*zip(*points, strict=True), marker=marker, label=name)
        panel.set(xscale="log", yscale="log", xlabel="embeddings of 128 dimensions", ylabel=unit)
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    with matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})
    return True

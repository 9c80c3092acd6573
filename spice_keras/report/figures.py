"""The figures of the report: drawn by the functions gathered here, saved as PNG files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spice_keras.errors import UserError
from spice_keras.report.cluster_figures import cluster_sizes_figure, confusion_figure
from spice_keras.report.content import ReportData
from spice_keras.report.map_figures import embedding_map_figure, trust_map_figure
from spice_keras.report.training_figures import drawable_panels, training_figure

__all__ = [
    "cluster_sizes_figure",
    "confusion_figure",
    "embedding_map_figure",
    "save_figures",
    "training_figure",
    "trust_map_figure",
]

DOTS_PER_INCH = 120


def save_figures(data: ReportData, directory: str | Path) -> dict[str, Path]:
    """Draws and saves every figure that the run has the numbers for.

    Args:
        data: the run.
        directory: where the PNG files go; made where it does not exist.

    Returns:
        Name to file: "cluster_sizes", "training_<stage>" for each stage with a history,
        "embedding_map", "trust_map" and, with labels, "confusion".

    Raises:
        UserError: the directory cannot be written.
    """
    folder = Path(directory)
    paths: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in _figures(data):
            paths[name] = folder / f"{name}.png"
            _save(figure, paths[name])
    except OSError as error:
        raise UserError(
            f"The figures cannot be written to {folder}: {error}. Choose a directory you may "
            "write to, with free space."
        ) from error
    return paths


def _figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Draws one figure after the other, so that only one is in memory."""
    yield "cluster_sizes", cluster_sizes_figure(data.cluster_sizes, data.reliable_members)
    of_heads = data.num_clusters if data.objective == "prototypes" else None
    for stage, rows in data.history.items():
        if drawable_panels(stage, rows):
            floor_of = None if stage == "refine" else of_heads
            yield f"training_{stage}", training_figure(stage, rows, num_clusters=floor_of)
    shown = np.asarray(data.map_indices)
    points = np.asarray(data.map_points, dtype=np.float32)
    if len(points):
        clusters, confidence = data.clusters[shown], data.confidence[shown]
        reliable = data.reliable[shown]
        yield "embedding_map", embedding_map_figure(points, clusters, data.num_clusters)
        yield (
            "trust_map",
            trust_map_figure(points, clusters, confidence, reliable, data.num_clusters),
        )
    if data.confusion is not None and data.confusion.size:
        yield (
            "confusion",
            confusion_figure(np.asarray(data.confusion), data.class_names, data.matching),
        )


def _save(figure: Figure, path: Path) -> None:
    """Writes one PNG file, whole or not at all, the same bytes for the same figure."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with warnings.catch_warnings():
            # A class name in a script the font lacks is drawn as boxes; the HTML has it in full.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(
                partial,
                format="png",
                dpi=DOTS_PER_INCH,
                facecolor="white",
                metadata={"Software": None},
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

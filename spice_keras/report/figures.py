"""The figures of the report: drawn by the functions gathered here, saved as PNG and SVG files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from spice_keras.errors import UserError
from spice_keras.report.cluster_figures import (
    cluster_sizes_figure,
    confusion_figure,
    reliable_share_figure,
)
from spice_keras.report.content import ReportData
from spice_keras.report.map_figures import (
    embedding_map_figure,
    reliable_map_figure,
    trust_map_figure,
)
from spice_keras.report.map_groups import map_groups
from spice_keras.report.prototype_figures import prototypes_figure
from spice_keras.report.selection_figures import loss_accuracy_figure, selection_figure
from spice_keras.report.training_figures import drawable_panels, training_figure

__all__ = ["save_figures"]

DOTS_PER_INCH = 120
OF_POINTS_OR_PIXELS = ("prototypes", "embedding_map", "reliable_map", "trust_map")


def save_figures(data: ReportData, directory: str | Path) -> dict[str, Path]:
    """Draws and saves every figure that the run has the numbers for.

    Figures of lines and bars are saved as SVG beside the PNG file.

    Args:
        data: the run.
        directory: where the files go; made where it does not exist.

    Returns:
        Name to PNG file: "cluster_sizes", "reliable_share", "prototypes" where the encoder has a
        map, "embedding_map", "reliable_map", "trust_map", "training_<stage>" for each stage with
        a history, "selection_<phase>" and, with labels, "confusion" and "loss_accuracy".

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
            if name not in OF_POINTS_OR_PIXELS:
                _save(figure, paths[name].with_suffix(".svg"))
    except OSError as error:
        raise UserError(
            f"The figures cannot be written to {folder}: {error}. Choose a directory you may "
            "write to, with free space."
        ) from error
    return paths


def _figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Draws one figure after the other, so that only one is in memory."""
    yield "cluster_sizes", cluster_sizes_figure(data.cluster_sizes, data.reliable_members)
    yield "reliable_share", reliable_share_figure(data.cluster_sizes, data.reliable_members)
    if data.prototype_maps is not None and data.images is not None:
        maps, sizes = data.prototype_maps, data.cluster_sizes
        if len(maps.indices):
            yield "prototypes", prototypes_figure(maps, data.images, sizes)
    yield from _maps(data)
    if data.confusion is not None and data.confusion.size:
        yield (
            "confusion",
            confusion_figure(np.asarray(data.confusion), data.class_names, data.matching),
        )
    for stage, rows in data.history.items():
        if drawable_panels(stage, rows):
            yield f"training_{stage}", training_figure(stage, rows)
    yield from _choices(data)


def _maps(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Draws the embedding map, where there is one."""
    shown = np.asarray(data.map_indices)
    points = np.asarray(data.map_points, dtype=np.float32)
    if not len(points):
        return
    yield "embedding_map", embedding_map_figure(points, data.clusters[shown], data.num_clusters)
    groups = map_groups(data)
    yield (
        "reliable_map",
        reliable_map_figure(
            points,
            groups.values,
            data.reliable[shown],
            groups.colors,
            names=groups.names,
            titles=groups.titles,
        ),
    )
    yield "trust_map", trust_map_figure(points, data.confidence[shown], data.agrees[shown])


def _choices(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Draws how a head was chosen, and how well its loss told its accuracy."""
    for phase, curves in data.heads.items():
        if np.isfinite(curves.losses).any():
            paper = phase == "self" and data.objective == "prototypes"
            floor_of = data.num_clusters if paper else None
            yield f"selection_{phase}", selection_figure(curves, num_clusters=floor_of)
    if any(curves.accuracy is not None for curves in data.heads.values()):
        titles = {"self": "Self-labelling", "refine": "Refinement"}
        panels = {titles.get(phase, phase): curves for phase, curves in data.heads.items()}
        yield "loss_accuracy", loss_accuracy_figure(panels)


def _save(figure: Figure, path: Path) -> None:
    """Writes one figure, whole or not at all, the same bytes for the same figure."""
    partial = path.with_name(f".{path.name}.partial")
    kind = path.suffix.removeprefix(".")
    # Neither a date nor random names of clip paths: an SVG file is as repeatable as a PNG one.
    metadata = {"Software": None} if kind == "png" else {"Date": None}
    try:
        with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": path.stem}):
            # A class name in a script the font lacks is drawn as boxes; the HTML has it in full.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(
                partial,
                format=kind,
                dpi=DOTS_PER_INCH,
                facecolor="white",
                metadata=metadata,
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

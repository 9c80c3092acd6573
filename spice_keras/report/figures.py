"""All figures of the report, one after the other, saved as PNG and SVG files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.files import storage_problem, write_atomically
from spice_keras.report.chart import Caption, Chart, Section
from spice_keras.report.classes import confusion_chart
from spice_keras.report.clusters import cluster_charts
from spice_keras.report.data import ReportData
from spice_keras.report.embedding_map import map_charts
from spice_keras.report.groups import groups_chart
from spice_keras.report.heads import head_charts
from spice_keras.report.prototypes import prototypes_chart
from spice_keras.report.training import training_charts

DOTS_PER_INCH = 120
_PALETTE = 256


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk, as the page shows it.

    Attributes:
        name: of its files, without a suffix.
        section: where the page shows it.
        caption: its words.
        path: the PNG file.
        drawing: the SVG file, which the page prefers; None for many points or pixels.
        keeps_paper: whether it stays on white where the page is dark.
    """

    name: str
    section: Section
    caption: Caption
    path: Path
    drawing: Path | None = None
    keeps_paper: bool = False


def draw_charts(data: ReportData) -> Iterator[Chart]:
    """Draws one figure after the other, so that only one is in memory.

    Args:
        data: the run.

    Yields:
        Each figure that the run has the numbers for, in the order of the page.
    """
    clustering, noun, maps = data.clustering, data.items.noun, data.prototype_maps
    yield from cluster_charts(clustering, noun)
    if data.groups is not None:
        yield groups_chart(data.groups)
    if maps is not None and data.items.images is not None and len(maps.indices):
        yield prototypes_chart(maps, data.items.images, clustering.sizes)
    yield from map_charts(data.embedding_map, clustering, data.classes, noun)
    if data.classes is not None:
        yield confusion_chart(data.classes, noun)
    yield from training_charts(data.training.history)
    floor = data.setup.heads.loss_floor(clustering.num_clusters)
    yield from head_charts(data.training.heads, floor)


def save_figures(data: ReportData, directory: str | Path) -> list[SavedFigure]:
    """Draws and saves every figure that the run has the numbers for.

    Figures of lines and bars are saved as SVG beside the PNG file.

    Args:
        data: the run.
        directory: where the files go; made where it does not exist.

    Returns:
        The saved figures: "cluster_sizes", "reliable_share", "groups" where the
        number of groups was looked for, "prototypes" where the encoder has a
        feature map, "embedding_map", "reliable_map", "trust_map", "training_<stage>" for each
        stage with a history, "selection_<phase>" and, with labels, "confusion" and
        "loss_accuracy".

    Raises:
        UserError: the directory cannot be written.
    """
    folder = Path(directory)
    saved: list[SavedFigure] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in draw_charts(data):
            saved.append(save_chart(chart, folder))
    except OSError as error:
        raise UserError(
            f"The figures cannot be written to {folder}: {storage_problem(error) or error}. Choose "
            "a directory you may write to, with free space."
        ) from error
    return saved


def save_chart(chart: Chart, folder: Path) -> SavedFigure:
    """Saves one figure, of lines or bars also as an SVG file.

    Args:
        chart: the figure.
        folder: where the files go.

    Returns:
        What was saved.
    """
    path, drawing = folder / f"{chart.name}.png", None
    with warnings.catch_warnings():
        # A class name in a script the font lacks is drawn as boxes; the HTML has it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _lay_out(chart.figure)
        _save(chart.figure, path, few_colors=chart.section == "map")
        if not chart.is_raster:
            drawing = path.with_suffix(".svg")
            _save(chart.figure, drawing)
    keeps = chart.keeps_paper or chart.is_raster
    return SavedFigure(chart.name, chart.section, chart.caption, path, drawing, keeps)


def _lay_out(figure: Figure) -> None:
    """Gives everything its place once, for all files. `savefig` would draw each file twice."""
    figure.set_dpi(DOTS_PER_INCH)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def _save(figure: Figure, path: Path, *, few_colors: bool = False) -> None:
    """Writes one figure, whole or not at all, the same bytes for the same figure.

    Thousands of points in a few colours take a third of the bytes with a palette.
    """
    kind, buffer = "rgba" if few_colors else path.suffix.removeprefix("."), io.BytesIO()
    # Neither a date nor random names of clip paths: an SVG file is as repeatable as a PNG one.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}}.get(kind)
    # Words stay words: smaller than their outlines, and in whatever script the reader's fonts have.
    settings = {"svg.hashsalt": path.stem, "svg.fonttype": "none"}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, facecolor="white", metadata=metadata)
    if few_colors:
        size = figure.canvas.get_width_height()
        picture, buffer = Image.frombytes("RGBA", size, buffer.getvalue()), io.BytesIO()
        picture = picture.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
        picture.save(buffer, "PNG")  # `optimize` gains 5 % of the bytes in eight times the time
    write_atomically(path, buffer.getvalue())

"""The run report: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jinja2
import numpy as np
from markupsafe import Markup

from spice_keras.errors import UserError
from spice_keras.files import storage_problem, write_atomically
from spice_keras.report.cards import cluster_cards
from spice_keras.report.chart import Caption, Section
from spice_keras.report.data import ReportData
from spice_keras.report.drawing import page_drawing
from spice_keras.report.figures import SavedFigure
from spice_keras.report.formatting import MISSING, count, decimal, duration, finite, percent, plain
from spice_keras.report.groups import suggestion_sentences
from spice_keras.report.next_steps import next_steps
from spice_keras.report.setup import choices, notices
from spice_keras.report.summary import plain_verdict
from spice_keras.report.table import COLUMNS, final_method, method_name, result_rows
from spice_keras.report.terms import explained
from spice_keras.report.thumbnails import LOSSLESS_SIDE, display_side, figure_uri
from spice_keras.report.unusual import unusual_view
from spice_keras.report.verdict import Verdict, reliable_name, trust_verdict

TEMPLATES = Path(__file__).parent
MAX_PAGE_CHARACTERS = 2_900_000
TEXT_RESERVE = 500_000
MIN_THUMBNAIL_CHARACTERS = 400_000
MAX_SKIPPED_SHOWN = 200


@dataclass(frozen=True)
class ShownFigure:
    """A figure inside the page: a drawing or a data URI, its words and its place."""

    section: Section
    source: str
    caption: Caption
    drawing: Markup | None
    keeps_paper: bool


def write_report(data: ReportData, path: str | Path, figures: Sequence[SavedFigure]) -> Path:
    """Writes the report of a run, whole or not at all.

    Args:
        data: the run.
        path: the HTML file; its directory is made where it does not exist.
        figures: as `save_figures` returns them.

    Returns:
        The path of the file.

    Raises:
        UserError: a figure cannot be read or the file cannot be written.
    """
    target = Path(path)
    try:
        page = render_report(data, figures)
        # A file name may hold bytes that are not UTF-8.
        write_atomically(target, page.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {target}: {storage_problem(error) or error}. Choose "
            "a place you may write to, with free space."
        ) from error
    return target


def render_report(data: ReportData, figures: Sequence[SavedFigure]) -> str:
    """Renders the report of a run.

    Args:
        data: the run.
        figures: as `save_figures` returns them.

    Returns:
        The HTML page. Everything that came from files, users or labels is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, percent=percent, duration=duration, plain=plain)
    return environment.get_template("template.html").render(_view(data, figures))


def _view(data: ReportData, figures: Sequence[SavedFigure]) -> dict[str, Any]:
    """Gathers what the template shows."""
    shown = [_shown(figure) for figure in figures]
    items = data.items
    found = data.unusual
    unusual = None if found is None else unusual_view(found, items, data.clustering)
    spent = sum(len(figure.source) + len(figure.drawing or "") for figure in shown) + TEXT_RESERVE
    spent += 0 if unusual is None else unusual.num_characters
    budget = max(MAX_PAGE_CHARACTERS - spent, MIN_THUMBNAIL_CHARACTERS)
    method = final_method(data.metrics)
    verdict = trust_verdict(
        data.metrics, data.clustering, data.reliable.counts, data.setup.heads, items.noun
    )
    key_figures = _key_figures(data, verdict)
    cards = cluster_cards(items, data.clustering, data.classes, budget)
    advice = [card.advice for card in cards]
    script = Markup((TEMPLATES / "script.js").read_text("utf-8"))
    return {
        "data": data,
        "noun": items.noun,
        "has_images": items.images is not None,
        "method": "SPICE" if method is None else method_name(method, data.metrics),
        "notices": notices(data.setup),
        "choices": choices(data.setup, data.metrics),
        "verdict": verdict,
        "key_figures": key_figures,
        "has_labels": data.classes is not None,
        "trained_on_labels": data.setup.semi is not None
        and data.setup.semi.labels_from == "source",
        "sentences": plain_verdict(data.metrics, data.clustering, verdict, advice, items.noun),
        "cards": cards,
        "steps": next_steps(data, advice),
        "groups": None if data.groups is None else suggestion_sentences(data.groups, items.noun),
        "script": script,
        "script_hash": script_hash(script),
        "figures": _by_section(shown),
        "unusual": unusual,
        **_results(data, [term for term, _, _ in key_figures if term is not None]),
        **_thumbnails(items.image_size),
        **_skipped(data.run.skipped),
        "total_time": sum(finite(seconds) or 0.0 for seconds in data.run.timings.values()),
    }


def script_hash(script: str) -> str:
    """Works out what the policy of the page allows: this script and no other.

    Args:
        script: between the tags, every byte.

    Returns:
        "sha256-..." in base64.
    """
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _shown(figure: SavedFigure) -> ShownFigure:
    """Takes the drawing if there is one, else the picture."""
    drawing, source = None, ""
    if figure.drawing is None:
        source = figure_uri(figure.path)
    else:
        drawing = page_drawing(
            figure.drawing.read_text("utf-8"),
            figure.caption.alternative,
            keeps_colors=figure.keeps_paper,
        )
    return ShownFigure(figure.section, source, figure.caption, drawing, figure.keeps_paper)


def _by_section(shown: Sequence[ShownFigure]) -> dict[Section, list[ShownFigure]]:
    found: dict[Section, list[ShownFigure]] = {section: [] for section in get_args(Section)}
    for figure in shown:
        found[figure.section].append(figure)
    return found


def _results(data: ReportData, explained_above: Sequence[str]) -> dict[str, Any]:
    """Gathers the result table, a row for each figure that some method has, and its terms."""
    noun, rows = data.items.noun, result_rows(data.metrics)
    measured = {
        term: cells
        for term, *cells in zip(COLUMNS, *(row[1:] for row in rows), strict=True)
        if any(cell != MISSING for cell in cells)
    }
    return {
        "result_methods": [row[0] for row in rows],
        "result_rows": [(COLUMNS[term], cells) for term, cells in measured.items()],
        "key_terms": explained(explained_above, noun),
        "result_terms": explained(_new(measured, explained_above), noun),
    }


def _new(terms: Iterable[str], explained_above: Sequence[str]) -> list[str]:
    return [term for term in terms if term not in explained_above]


def _thumbnails(image_size: int) -> dict[str, Any]:
    return {
        "tiny": image_size <= LOSSLESS_SIDE,
        "side": display_side(image_size) if image_size else None,
    }


def _skipped(skipped: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "skipped": list(skipped)[:MAX_SKIPPED_SHOWN],
        "skip_reasons": Counter(reason for _, reason in skipped).most_common(),
    }


def _key_figures(data: ReportData, verdict: Verdict) -> list[tuple[str | None, str, str]]:
    """The numbers a reader looks for first: the term to explain, the value and its name."""
    clustering, noun = data.clustering, data.items.noun
    empty = int(np.count_nonzero(clustering.sizes == 0))
    known = clustering.confidence[np.isfinite(clustering.confidence)]
    checks = {check.name: check.value for check in verdict.checks}
    figures = [
        (None, count(len(data.items)), f"{noun}s"),
        (None, count(len(clustering.sizes)), f"clusters ({empty} empty)" if empty else "clusters"),
        ("reliable", checks.get(reliable_name(noun), MISSING), "reliable"),
        ("confidence", percent(known.mean() if len(known) else None), "mean confidence"),
        ("local_consistency", checks.get("Local consistency", MISSING), "local consistency"),
    ]
    final = data.metrics.get(final_method(data.metrics) or "") or {}
    if "Accuracy" in checks:
        return [*figures, ("acc", decimal(final.get("acc")), "ACC")]
    return [*figures, ("silhouette", decimal(final.get("silhouette")), "silhouette")]

"""The run report: one HTML file that needs no other file, no network and no script."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from spice_keras.errors import UserError
from spice_keras.report.caption import Caption
from spice_keras.report.captions import SELECTION, TRAINING, figure_caption
from spice_keras.report.cards import cluster_cards
from spice_keras.report.content import ReportData, final_method
from spice_keras.report.formatting import MISSING, count, decimal, duration, finite, percent, plain
from spice_keras.report.table import RESULT_HEADER, method_name, result_rows
from spice_keras.report.thumbnails import LOSSLESS_SIDE, display_side, figure_uri
from spice_keras.report.verdict import Verdict, reliable_name, trust_verdict

TEMPLATES = Path(__file__).parent
MAX_PAGE_CHARACTERS = 2_900_000
TEXT_RESERVE = 500_000
MIN_THUMBNAIL_CHARACTERS = 400_000
MAX_SKIPPED_SHOWN = 200
MAPS = ("embedding_map", "reliable_map", "trust_map")


@dataclass(frozen=True)
class ShownFigure:
    """A figure inside the page."""

    name: str
    source: str
    caption: Caption


def write_report(data: ReportData, path: str | Path, figures: Mapping[str, Path]) -> Path:
    """Writes the report of a run, whole or not at all.

    Args:
        data: the run.
        path: the HTML file; its directory is made where it does not exist.
        figures: name to PNG file, as `save_figures` returns them.

    Returns:
        The path of the file.

    Raises:
        UserError: a figure cannot be read or the file cannot be written.
    """
    target = Path(path)
    try:
        page = render_report(data, figures)
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, page)
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {target}: {error}. Choose a place you may write to, "
            "with free space."
        ) from error
    return target


def render_report(data: ReportData, figures: Mapping[str, Path]) -> str:
    """Renders the report of a run.

    Args:
        data: the run.
        figures: name to PNG file.

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


def _view(data: ReportData, figures: Mapping[str, Path]) -> dict[str, Any]:
    """Gathers what the template shows."""
    shown = [
        ShownFigure(name, figure_uri(path), figure_caption(name, data))
        for name, path in figures.items()
    ]
    spent = sum(len(figure.source) for figure in shown) + TEXT_RESERVE
    budget = max(MAX_PAGE_CHARACTERS - spent, MIN_THUMBNAIL_CHARACTERS)
    method = final_method(data.metrics)
    verdict = trust_verdict(
        data.metrics,
        cluster_sizes=data.cluster_sizes.tolist(),
        num_reliable=int(np.count_nonzero(data.reliable)),
        reliable_counts=list(data.reliable_counts),
        item=data.item,
    )
    return {
        "data": data,
        "method": "SPICE" if method is None else method_name(method, data.metrics),
        "verdict": verdict,
        "key_figures": _key_figures(data, verdict),
        "result_header": RESULT_HEADER,
        "result_rows": result_rows(data.metrics),
        "has_labels": any(
            finite((row or {}).get("acc")) is not None for row in data.metrics.values()
        ),
        "cards": cluster_cards(data, budget),
        "has_images": data.images is not None,
        "tiny": data.image_size <= LOSSLESS_SIDE,
        "side": None if data.images is None else display_side(data.image_size),
        "training": [figure for figure in shown if figure.name.startswith(TRAINING)],
        "choices": [figure for figure in shown if _is_choice(figure.name)],
        "figures": {figure.name: figure for figure in shown},
        "maps": [figure for figure in shown if figure.name in MAPS],
        "other_figures": [figure for figure in shown if _is_other(figure.name)],
        "skip_reasons": Counter(reason for _, reason in data.skipped).most_common(),
        "skipped": list(data.skipped)[:MAX_SKIPPED_SHOWN],
        "total_time": sum(finite(seconds) or 0.0 for seconds in data.timings.values()),
        "missing": MISSING,
    }


def _key_figures(data: ReportData, verdict: Verdict) -> list[tuple[str, str]]:
    """The numbers a reader looks for first, as pairs of value and name."""
    empty = int(np.count_nonzero(data.cluster_sizes == 0))
    known = data.confidence[np.isfinite(data.confidence)]
    checks = {check.name: check.value for check in verdict.checks}
    figures = [
        (count(data.num_images), f"{data.item}s"),
        (count(data.num_clusters), f"clusters ({empty} empty)" if empty else "clusters"),
        (checks.get(reliable_name(data.item), MISSING), "reliable"),
        (percent(known.mean() if len(known) else None), "mean confidence"),
        (checks.get("Local consistency", MISSING), "local consistency"),
    ]
    final = data.metrics.get(final_method(data.metrics) or "") or {}
    if "Accuracy" in checks:
        return [*figures, (decimal(final.get("acc")), "ACC")]
    return [*figures, (decimal(final.get("silhouette")), "silhouette")]


def _is_other(name: str) -> bool:
    """Tells figures the page has no place of their own for."""
    placed = ("cluster_sizes", "reliable_share", "prototypes", *MAPS, "confusion")
    return name not in placed and not name.startswith(TRAINING) and not _is_choice(name)


def _is_choice(name: str) -> bool:
    """Tells the figures about the choice of a head."""
    return name.startswith(SELECTION) or name == "loss_accuracy"


def _replace(target: Path, page: str) -> None:
    """Puts the page in place in one step, so that no reader ever sees half of it."""
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(page)
        # mkstemp makes private files; a report is meant to be shared.
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)

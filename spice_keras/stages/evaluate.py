"""Evaluation: the stage that judges by labels, the figures of merit, and the report.

Nothing here trains, selects or thresholds, and no training stage comes after it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.data.labels import Labels
from spice_keras.files import write_json
from spice_keras.report.classes import Classes
from spice_keras.report.data import ReportData
from spice_keras.report.figures import SavedFigure, save_figures
from spice_keras.report.html import write_report
from spice_keras.report.unusual import Unusual, unusual_figures
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult, final_result, write_assignments
from spice_keras.run.store import Evaluation, Names
from spice_keras.stages.figures import embedding_map
from spice_keras.stages.labels import read_labels
from spice_keras.stages.report_data import labelled_classes, report_data
from spice_keras.stages.scores import pixel_kmeans, score
from spice_keras.stages.unusual import find_unusual, write_unusual


def evaluate(context: Context) -> None:
    """Write metrics.json, the tables of items, the figures and report.html.

    Args:
        context: The run; its training stages are finished.
    """
    parts = context.reported_parts  # of a split: the test part, and the train part beside it
    labels, results = [read_labels(part) for part in parts], [final_result(part) for part in parts]
    values = [None if found is None else found.values for found in labels]
    _read_first(parts)
    # t-SNE and k-means need one core each and no Python; the rest goes on beside them.
    with ThreadPoolExecutor(2) as pool:
        pixels = [pool.submit(pixel_kmeans, part) for part in parts]
        placed = pool.submit(embedding_map, parts[0], results[0].embeddings)
        unusual = [find_unusual(part) for part in parts]
        scored = pool.submit(_scores, parts, values, pixels)
        write_assignments(
            list(zip(parts, results, strict=True)), [found.groups for found in unusual]
        )
        write_unusual(list(zip(parts, results, unusual, strict=True)))
        data = report_data(
            parts[0],
            results[0],
            placed=placed.result,
            unusual=unusual[0],
            classes=_classes(labels[0], results[0], context.config.num_clusters),
            head_labels=values[-1],
        )
        figures = _draw_again(context.run.path, data)
        metrics = _joined(context, scored.result(), unusual)
    metrics["names"] = [dataclasses.asdict(one) for one in context.load(Names).names]
    page = context.run.path / "report.html"
    write_report(dataclasses.replace(data, metrics=metrics), page, figures)
    write_json(context.run.path / "metrics.json", metrics)
    context.save(Evaluation(metrics))


def _read_first(parts: Sequence[Context]) -> None:
    """Read what several threads need, so that none reads it a second time."""
    for part in parts:
        _ = part.bank, part.images if part.has_images else None


def _scores(
    parts: Sequence[Context],
    labels: Sequence[np.ndarray | None],
    pixels: Sequence[Future[np.ndarray | None]],
) -> list[dict[str, Any]]:
    """Score each part; k-means on its pixels was begun before, by another thread."""
    return [
        score(part, known, pixels=clusters.result)
        for part, known, clusters in zip(parts, labels, pixels, strict=True)
    ]


def _joined(
    context: Context, scores: Sequence[dict[str, Any]], unusual: Sequence[Unusual]
) -> dict[str, Any]:
    """Put together metrics.json, of one part or of the test and the train part."""
    metrics, *beside = [
        found | unusual_figures(other) for found, other in zip(scores, unusual, strict=True)
    ]
    if context.has_parts:
        metrics["data"] = _data_facts(context)
    for train in beside:
        metrics["train"] = train
        tested, trained = (len(part.ids) for part in context.reported_parts)
        context.screen.say(
            f"eval: results on the {tested} test images. metrics.json has those on the "
            f"{trained} train images under `train`."
        )
    return metrics


def _data_facts(context: Context) -> dict[str, Any]:
    """State the protocol and the number of images of each part."""
    return {
        "protocol": context.config.data.protocol,
        **dataclasses.asdict(context.counts),
        "duplicates_removed": context.duplicates_removed,
    }


def _classes(labels: Labels | None, result: FinalResult, num_clusters: int) -> Classes | None:
    if labels is None:
        return None
    return labelled_classes(labels.values, labels.class_names, result.clusters, num_clusters)


def _draw_again(path: Path, data: ReportData) -> list[SavedFigure]:
    """Draw the figures again, so that none is left of an evaluation with other labels."""
    shutil.rmtree(path / "figures", ignore_errors=True)
    return save_figures(data, path / "figures")

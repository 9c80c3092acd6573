"""Evaluation: the stage that judges by labels, the figures of merit, and the report.

Nothing here trains, selects or thresholds, and no training stage comes after it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from spice_keras.data.labels import Labels
from spice_keras.files import write_json
from spice_keras.report.classes import Classes
from spice_keras.report.data import ReportData
from spice_keras.report.embedding_map import EmbeddingMap
from spice_keras.report.figures import save_figures
from spice_keras.report.html import write_report
from spice_keras.report.unusual import unusual_figures
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult, final_result, write_assignments
from spice_keras.run.store import Evaluation
from spice_keras.stages.figures import embedding_map
from spice_keras.stages.labels import read_labels
from spice_keras.stages.report_data import labelled_classes, report_data
from spice_keras.stages.scores import score
from spice_keras.stages.unusual import find_unusual, write_unusual


def evaluate(context: Context) -> None:
    """Write metrics.json, the tables of items, the figures and report.html.

    Args:
        context: The run; its training stages are finished.
    """
    parts = context.reported_parts  # of a split: the test part, and the train part beside it
    labels, results = [read_labels(part) for part in parts], [final_result(part) for part in parts]
    with ThreadPoolExecutor(1) as pool:  # t-SNE takes one core; the rest goes on beside it
        placed = pool.submit(embedding_map, parts[0], results[0].embeddings)
        _judge(context, labels, results, placed.result)


def _judge(
    context: Context,
    labels: Sequence[Labels | None],
    results: Sequence[FinalResult],
    placed: Callable[[], EmbeddingMap],
) -> None:
    parts = context.reported_parts
    values = [None if found is None else found.values for found in labels]
    metrics = score(parts[0], values[0])
    unusual = [find_unusual(part) for part in parts]
    metrics |= unusual_figures(unusual[0])
    if context.has_parts:
        metrics["data"] = _data_facts(context)
    if len(parts) > 1:
        metrics["train"] = score(parts[1], values[1]) | unusual_figures(unusual[1])
        context.screen.say(
            f"eval: results on the {len(parts[0].ids)} test images. metrics.json has those on the "
            f"{len(parts[1].ids)} train images under `train`."
        )
    write_assignments(list(zip(parts, results, strict=True)))
    write_unusual(list(zip(parts, results, unusual, strict=True)))
    classes = _classes(labels[0], results[0], context.config.num_clusters)
    _write_report(
        context.run.path,
        report_data(
            parts[0],
            results[0],
            metrics,
            placed=placed,
            unusual=unusual[0],
            classes=classes,
            head_labels=values[-1],
        ),
    )
    write_json(context.run.path / "metrics.json", metrics)
    context.save(Evaluation(metrics))


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


def _write_report(path: Path, data: ReportData) -> None:
    """Draw the figures again, so that none is left of an evaluation with other labels."""
    shutil.rmtree(path / "figures", ignore_errors=True)
    write_report(data, path / "report.html", save_figures(data, path / "figures"))

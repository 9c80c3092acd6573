"""Evaluation: the only stage that reads labels, the figures of merit, and the report.

Nothing here trains, selects or thresholds, and no training stage comes after it.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from spice_keras.config.protocol import part_config, part_prefix
from spice_keras.config.schema import DataConfig
from spice_keras.data.labels import (
    Labels,
    array_labels,
    digits_labels,
    embedding_labels,
    folder_labels,
    has_array_labels,
    joined_labels,
    tfds_labels,
)
from spice_keras.files import write_json
from spice_keras.report.classes import Classes
from spice_keras.report.data import ReportData
from spice_keras.report.figures import save_figures
from spice_keras.report.html import write_report
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult, final_result, write_assignments
from spice_keras.run.store import Evaluation
from spice_keras.stages.report_data import labelled_classes, report_data
from spice_keras.stages.scores import score


def read_labels(context: Context) -> Labels | None:
    """Read the labels evaluation may compare with; None where there are none.

    Raises:
        UserError: Where labels were asked for and cannot be had.
    """
    data = context.config.data
    if data.labels == "none" or (data.source == "folder" and data.labels != "from-folders"):
        return None
    found = []
    for role, rows in context.parts.items():
        prefix = part_prefix(data, role)
        ids = [name.removeprefix(prefix) for name in context.ids[rows]]
        found.append(_part_labels(part_config(data, role), ids))
    known = [labels for labels in found if labels is not None]
    return joined_labels(known) if len(known) == len(found) else None


def _part_labels(data: DataConfig, ids: list[str]) -> Labels | None:
    path = data.path or ""
    if data.source == "folder":
        return folder_labels(ids, path)
    if data.source == "embeddings":
        return embedding_labels(path, ids) if has_array_labels(path) else None
    if data.source == "arrays":
        return array_labels(path, ids) if has_array_labels(path) else None
    if data.source == "tfds":
        return tfds_labels(path, data.split, data.tfds_dir, ids, feature=data.label_key)
    return digits_labels(ids)


def evaluate(context: Context) -> None:
    """Write metrics.json, assignments.csv, the figures and report.html.

    Args:
        context: The run; its training stages are finished.
    """
    parts = context.reported_parts  # of a split: the test part, and the train part beside it
    labels, results = [read_labels(part) for part in parts], [final_result(part) for part in parts]
    values = [None if found is None else found.values for found in labels]
    metrics = score(parts[0], values[0])
    if context.has_parts:
        metrics["data"] = _data_facts(context)
    if len(parts) > 1:
        metrics["train"] = score(parts[1], values[1])
        context.screen.say(
            f"eval: results on the {len(parts[0].ids)} test images. metrics.json has those on the "
            f"{len(parts[1].ids)} train images under `train`."
        )
    write_assignments(list(zip(parts, results, strict=True)))
    classes = _classes(labels[0], results[0], context.config.num_clusters)
    _write_report(
        context.run.path,
        report_data(parts[0], results[0], metrics, classes=classes, head_labels=values[-1]),
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

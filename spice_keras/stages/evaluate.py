"""Evaluation: the only stage that reads labels, and the report.

Nothing here trains, selects or thresholds; nothing a training stage does comes after it.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

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
from spice_keras.metrics.clustering import contingency, match_clusters
from spice_keras.report.content import ReportData
from spice_keras.report.figure_data import HeadCurves
from spice_keras.report.figures import save_figures
from spice_keras.report.html import write_report
from spice_keras.report.table import METHOD_NAMES
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult, final_result, write_assignments
from spice_keras.run.store import Evaluation, Reliable
from spice_keras.stages.figures import (
    embedding_map,
    head_curves,
    least_certain_images,
    prototype_images,
    prototype_maps,
)
from spice_keras.stages.scores import score

_HISTORIES = ("pretrain", "self", "refine", "semi")


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


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _against(
    labels: Labels | None, clusters: np.ndarray, num_clusters: int
) -> tuple[np.ndarray | None, dict[int, int] | None]:
    """Tabulate classes against clusters, and match them; nothing without labels."""
    if labels is None:
        return None, None
    known = labels.values >= 0
    pair = labels.values[known], clusters[known]
    table = contingency(*pair, num_classes=len(labels.class_names), num_clusters=num_clusters)
    return table, match_clusters(*pair)


def _notices(context: Context) -> tuple[str, ...]:
    """Say what a reader must know to judge the result."""
    name, semi, found = context.config.backbone.name, context.config.semi, []
    if semi.enabled and semi.labels_from == "source":
        found.append(
            f"True labels were used for training: SPICE-Semi was given {semi.labels_per_class} of "
            "each class, as the configuration asks. Its groups are classes it was told of, and its "
            "figures those of semi-supervised learning, not of clustering."
        )
    if context.has_images and context.config.backbone.pretrained:
        found.append(
            f"The encoder, {name}, came with weights that were trained on other images with labels "
            "(ImageNet, unless the weights' source says otherwise). Groups that resemble its "
            "classes are found more easily than others, and figures on such classes are not "
            "label-free."
        )
    return tuple(found)


def _protocol(context: Context, metrics: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Say which images trained, which are reported, and the figures of the others."""
    if not context.has_parts:
        return ()
    counts, plan = context.counts, context.plan
    split = context.config.data.protocol == "split"
    reported = f"{counts.test} test images, which no stage saw" if split else "the same images"
    lines = [
        (
            "Protocol",
            f"{context.config.data.protocol}: {plan.pretrain.num_images} images pretrained on, "
            f"{plan.num_images} clustered; this page reports on {reported}",
        )
    ]
    if context.duplicates_removed is not None:
        removed = f"{context.duplicates_removed} extra images equal to a test image left out"
        lines.append(("Duplicates", removed))
    for name, method in METHOD_NAMES.items():
        figures = metrics.get("train", {}).get(name) or {}
        if figures.get("acc") is not None:
            against = ", ".join(
                f"{key.upper()} {figures[key]:.3f}" for key in ("acc", "nmi", "ari")
            )
            lines.append((f"{method}, train images", against))
    return tuple(lines)


def _chosen(context: Context) -> tuple[tuple[str, str], ...]:
    """Say how the run was set up: what, and why."""
    config = context.config
    objective = {
        "prototypes": "SPICE-Self, the paper's: labels from the nearest samples of prototypes",
        "neighbors": "agreement with neighbours (SCAN's loss), for features of a good encoder",
    }
    if context.has_images:
        where = "these images" if context.train_part is None else "the train images"
        own = f"trained from scratch on {where} with MoCo v2"
        continued = f"pretrained weights, trained further on {where} with MoCo v2"
        frozen = "pretrained weights, frozen"
        trained = continued if config.backbone.pretrained else own
        encoder = f"{config.backbone.name}: {trained if config.trains_encoder else frozen}"
    else:
        encoder = "none: the embeddings were given"
    kind = {"reliable": "the reliable", "source": "true"}[config.semi.labels_from]
    semi = f"FixMatch from {kind} labels" if config.semi.enabled else "not run"
    return (
        ("Encoder", encoder),
        ("Clustering heads", objective[config.self_labeling.objective]),
        ("SPICE-Semi", semi),
    )


def _circumstances(folder: Path) -> dict[str, Any]:
    """Say how, when and where the run was made, as far as it wrote that down."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "timings": _json(folder / "timings.json"),
        "environment": _json(folder / "environment.json"),
        "config_yaml": (folder / "config.yaml").read_text("utf-8"),
    }


def _head_curves(context: Context, labels: Labels | None) -> dict[str, HeadCurves]:
    """Measure the heads on the images they were trained on, whatever the page reports on."""
    trained = context.train_part
    if trained is not None:
        context, labels = trained, read_labels(trained)
    return head_curves(context, None if labels is None else labels.values)


def _report_data(
    context: Context,
    result: FinalResult,
    metrics: dict[str, Any],
    labels: Labels | None,
) -> ReportData:
    config, run = context.config, context.run
    count = config.evaluate.prototypes_per_cluster
    ranked = prototype_images(context, result)
    rows, points = embedding_map(context, result.embeddings)
    thresholds = (context.train_part or context).load(Reliable).thresholds
    confusion, matching = _against(labels, result.clusters, config.num_clusters)
    return ReportData(
        name=config.name,
        image_size=config.data.image_size,
        num_clusters=config.num_clusters,
        images=context.images if context.has_images else None,
        ids=context.ids,
        clusters=result.clusters,
        confidence=result.confidence,
        reliable=result.reliable,
        agrees=result.agrees,
        prototypes={cluster: members[:count] for cluster, members in ranked.items()},
        least_certain=least_certain_images(result, count),
        map_points=points,
        map_indices=rows,
        map_method="t-SNE" if config.evaluate.map_method == "tsne" else "PCA",
        metrics={method: metrics[method] for method in METHOD_NAMES},
        objective=config.self_labeling.objective,
        notices=_notices(context),
        chosen=_chosen(context) + _protocol(context, metrics),
        confusion=confusion,
        class_names=None if labels is None else labels.class_names,
        history={stage: run.metrics(stage) for stage in _HISTORIES},
        thresholds={k: v for k, v in thresholds.items() if not isinstance(v, list)},
        reliable_counts=thresholds["counts"],
        skipped=context.skipped,
        notes=context.plan.notes,
        **_circumstances(run.path),
        matching=matching,
        heads=_head_curves(context, labels),
        prototype_maps=prototype_maps(context, result, ranked),
        map_labels=None if labels is None else labels.values[rows],
    )


def _data_facts(context: Context) -> dict[str, Any]:
    """State the protocol and the images of each part."""
    return {
        "protocol": context.config.data.protocol,
        **dataclasses.asdict(context.counts),
        "duplicates_removed": context.duplicates_removed,
    }


def evaluate(context: Context) -> None:
    """Write metrics.json, assignments.csv, the figures and report.html.

    Args:
        context: The run; its training stages are finished.
    """
    shown, *beside = context.reported_parts
    labels = read_labels(shown)
    result = final_result(shown)
    metrics = score(shown, None if labels is None else labels.values)
    if context.has_parts:
        metrics["data"] = _data_facts(context)
    for part in beside:
        own = read_labels(part)
        metrics["train"] = score(part, None if own is None else own.values)
        context.screen.say(
            f"eval: figures of the {len(shown.ids)} test images; metrics.json has those of the "
            f"{len(part.ids)} train images, under `train`."
        )
    path = context.run.path
    write_assignments([(shown, result), *((part, final_result(part)) for part in beside)])
    data = _report_data(shown, result, metrics, labels)
    shutil.rmtree(path / "figures", ignore_errors=True)
    write_report(data, path / "report.html", save_figures(data, path / "figures"))
    write_json(path / "metrics.json", metrics)
    context.save(Evaluation(metrics))

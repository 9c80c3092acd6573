"""Evaluation: the only stage that reads labels, and the report.

Nothing here trains, selects or thresholds; nothing a training stage does comes after it.
"""

from __future__ import annotations

import datetime
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from spice_keras.algorithm.prototypes import num_confident
from spice_keras.artifacts import write_json
from spice_keras.data.labels import (
    Labels,
    array_labels,
    digits_labels,
    embedding_labels,
    folder_labels,
    has_array_labels,
    tfds_labels,
)
from spice_keras.metrics.clustering import contingency, match_clusters
from spice_keras.report.content import ReportData
from spice_keras.report.figures import save_figures
from spice_keras.report.html import write_report
from spice_keras.report.table import METHOD_NAMES
from spice_keras.stages.context import Context
from spice_keras.stages.results import FinalResult, read_final, write_assignments
from spice_keras.stages.scores import score

_HISTORIES = ("pretrain", "self", "refine", "semi")


def read_labels(context: Context) -> Labels | None:
    """Read the labels evaluation may compare with; None where there are none.

    Raises:
        UserError: Where labels were asked for and cannot be had.
    """
    data = context.config.data
    path = data.path or ""
    if data.labels == "none" or (data.source == "folder" and data.labels != "from-folders"):
        return None
    if data.source == "folder":
        return folder_labels(context.ids)
    if data.source == "embeddings":
        return embedding_labels(path, context.ids) if has_array_labels(path) else None
    if data.source == "arrays":
        return array_labels(path, context.ids) if has_array_labels(path) else None
    if data.source == "tfds":
        return tfds_labels(path, data.split, data.tfds_dir, context.ids)
    return digits_labels(context.ids)


def prototype_images(context: Context, result: FinalResult) -> dict[int, np.ndarray]:
    """Rank each cluster's members by similarity to its prototype (Eq. 1-2 on all images)."""
    clusters = result.clusters
    size = num_confident(len(clusters), context.config.num_clusters, 0.5)
    ranked = {}
    for cluster in range(context.config.num_clusters):
        members = np.flatnonzero(clusters == cluster)
        sure = members[np.argsort(-result.confidence[members], kind="stable")[:size]]
        if len(members):
            similarity = result.embeddings[members] @ result.embeddings[sure].mean(axis=0)
            ranked[cluster] = members[np.argsort(-similarity, kind="stable")]
    return ranked


def least_certain_images(result: FinalResult, count: int) -> dict[int, np.ndarray]:
    """Return each cluster's members of lowest confidence, least first."""
    found = {}
    for cluster in np.unique(result.clusters):
        members = np.flatnonzero(result.clusters == cluster)
        order = np.argsort(result.confidence[members], kind="stable")
        found[int(cluster)] = members[order[:count]]
    return found


def embedding_map(context: Context, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place a sample of the embeddings in the plane: rows int64 [n], points float32 [n, 2]."""
    section, seed = context.config.evaluate, context.seed("map")
    count = min(section.map_samples, len(embeddings))
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(embeddings), count, replace=False))
    points = PCA(min(50, *embeddings[rows].shape), random_state=seed).fit_transform(
        embeddings[rows]
    )
    if section.map_method == "tsne" and count > 10:
        perplexity = min(30.0, (count - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        return rows, tsne.fit_transform(points)
    return rows, points[:, :2]


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
    name = context.config.backbone.name
    if not context.has_images or not context.config.backbone.pretrained:
        return ()
    return (
        f"The encoder, {name}, came with weights that were trained on other images with labels "
        "(ImageNet, unless the weights' source says otherwise). Groups that resemble its classes "
        "are found more easily than others, and figures on such classes are not label-free.",
    )


def _chosen(context: Context) -> tuple[tuple[str, str], ...]:
    """Say how the run was set up: what, and why."""
    config = context.config
    objective = {
        "prototypes": "SPICE-Self, the paper's: labels from the nearest samples of prototypes",
        "neighbors": "agreement with neighbours (SCAN's loss), for features of a good encoder",
    }
    if context.has_images:
        own = "trained from scratch on these images with MoCo v2"
        continued = "pretrained weights, trained further on these images with MoCo v2"
        frozen = "pretrained weights, frozen"
        trained = continued if config.backbone.pretrained else own
        encoder = f"{config.backbone.name}: {trained if config.trains_encoder else frozen}"
    else:
        encoder = "none: the embeddings were given"
    semi = "FixMatch from the reliable labels" if config.semi.enabled else "not run"
    return (
        ("Encoder", encoder),
        ("Clustering heads", objective[config.self_labeling.objective]),
        ("SPICE-Semi", semi),
    )


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
    thresholds = _json(run.read("reliable", written_by="self") / "thresholds.json")
    confusion, matching = _against(labels, result.clusters, config.num_clusters)
    return ReportData(
        name=config.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
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
        chosen=_chosen(context),
        confusion=confusion,
        class_names=None if labels is None else labels.class_names,
        history={stage: run.metrics(stage) for stage in _HISTORIES},
        thresholds={k: v for k, v in thresholds.items() if not isinstance(v, list)},
        reliable_counts=thresholds["counts"],
        skipped=context.skipped,
        notes=context.plan.notes,
        timings=_json(run.path / "timings.json"),
        environment=_json(run.path / "environment.json"),
        config_yaml=(run.path / "config.yaml").read_text("utf-8"),
        matching=matching,
    )


def evaluate(context: Context) -> None:
    """Write metrics.json, assignments.csv, the figures and report.html.

    Args:
        context: The run; its training stages are finished.
    """
    labels = read_labels(context)
    result = read_final(context)
    metrics = score(context, None if labels is None else labels.values)
    path = context.run.path
    write_assignments(context, result)
    data = _report_data(context, result, metrics, labels)
    shutil.rmtree(path / "figures", ignore_errors=True)
    write_report(data, path / "report.html", save_figures(data, path / "figures"))
    write_json(path / "metrics.json", metrics)
    with context.run.write("evaluation", stage="evaluate") as folder:
        write_json(folder / "metrics.json", metrics)


def read_metrics(context: Context) -> dict[str, Any]:
    """Read metrics.json of an evaluated run."""
    folder = context.run.read("evaluation", written_by="eval")
    metrics: dict[str, Any] = _json(folder / "metrics.json")
    return metrics

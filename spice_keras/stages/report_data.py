"""What the report shows and says, gathered from the artifacts of a finished run."""

from __future__ import annotations

import contextlib
import datetime
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.files import next_number
from spice_keras.metrics.cluster_links import ClusterLinks, cluster_links
from spice_keras.metrics.clustering import contingency, match_clusters
from spice_keras.report.classes import Classes
from spice_keras.report.clustering import Clustering, Items
from spice_keras.report.data import ReliableSelection, ReportData, RunRecord, Training
from spice_keras.report.embedding_map import EmbeddingMap
from spice_keras.report.setup import EncoderSetup, HeadSetup, PartsSetup, SemiSetup, Setup
from spice_keras.report.unusual import Unusual
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult
from spice_keras.run.store import Export, Heads, Names, Reliable
from spice_keras.stages.figures import (
    head_curves,
    least_certain_images,
    prototype_images,
    prototype_maps,
)
from spice_keras.stages.groups import kept_suggestion

_HISTORIES = ("pretrain", "self", "refine", "semi")


def report_data(
    context: Context,
    result: FinalResult,
    *,
    placed: Callable[[], EmbeddingMap],
    unusual: Unusual,
    classes: Classes | None,
    head_labels: np.ndarray | None,
) -> ReportData:
    """Gather what the report is made from.

    Args:
        context: What the page reports on; its stages are finished.
        result: Its clustering.
        placed: Gives the map of the embeddings; asked last, so that it can be made meanwhile.
        unusual: Near-duplicates and outliers among its items.
        classes: The labels of its items; None without labels.
        head_labels: Those of the items the heads were trained on, int32 [N], -1 where unknown:
            the accuracies of the heads are measured on these. None without labels.

    Returns:
        The record, but for its `metrics`: no figure needs them, and they may take longer.
    """
    ranked = prototype_images(context, result)
    maps = prototype_maps(context, result, ranked)
    return ReportData(
        run=_run_record(context),
        setup=_setup(context),
        items=Items(context.ids, context.images if context.has_images else None),
        clustering=_clustering(context, result, ranked),
        reliable=_reliable_selection(context),
        metrics={},
        training=Training(
            history={stage: context.run.metrics(stage) for stage in _HISTORIES},
            heads=head_curves(context, head_labels),
        ),
        embedding_map=placed(),
        classes=classes,
        prototype_maps=maps,
        unusual=unusual,
        groups=kept_suggestion(context.train_part or context),
    )


def labelled_classes(
    labels: np.ndarray, class_names: Sequence[str], clusters: np.ndarray, num_clusters: int
) -> Classes | None:
    """Tabulate classes against clusters, and match them.

    Args:
        labels: Class of each item, int32 [N], -1 where unknown.
        class_names: Name of each class, [C].
        clusters: Cluster of each item, int32 [N].
        num_clusters: K.

    Returns:
        The classes; None if no label is known.
    """
    known = labels >= 0
    if not known.any():
        return None
    pair = labels[known], clusters[known]
    table = contingency(*pair, num_classes=len(class_names), num_clusters=num_clusters)
    return Classes(labels, class_names, table, match_clusters(*pair))


def _clustering(
    context: Context, result: FinalResult, ranked: Mapping[int, np.ndarray]
) -> Clustering:
    count = context.config.evaluate.prototypes_per_cluster
    names = context.load(Names)
    return Clustering(
        num_clusters=context.config.num_clusters,
        clusters=result.clusters,
        confidence=result.confidence,
        reliable=result.reliable,
        agrees=result.agrees,
        prototypes={cluster: members[:count] for cluster, members in ranked.items()},
        least_certain=least_certain_images(result, count),
        links=_links(context, result),
        cluster_names=names.names,
        words_from=_words_from(names),
    )


def _words_from(names: Names) -> str | None:
    if names.source is None or not names.trained_with_labels:
        return names.source
    return f"{names.source}, which the encoder was taught with labels,"


def _links(context: Context, result: FinalResult) -> ClusterLinks:
    heads, neighbors = context.load(Heads), context.bank.neighbors
    return cluster_links(
        result.clusters, neighbors[:, 1:], heads.other_heads, context.config.num_clusters
    )


def _reliable_selection(context: Context) -> ReliableSelection:
    facts = (context.train_part or context).load(Reliable).thresholds
    single = {name: value for name, value in facts.items() if not isinstance(value, list)}
    return ReliableSelection(single, facts["counts"])


def _run_record(context: Context) -> RunRecord:
    """Say when, where and how the run was made, as far as it wrote that down."""
    folder = context.run.path
    return RunRecord(
        name=context.config.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        timings=context.run.timings(),
        environment=_json(folder / "environment.json"),
        folder=str(folder),
        model=_model(context),
        config_yaml=(folder / "config.yaml").read_text("utf-8"),
        skipped=context.skipped,
        notes=context.plan.notes,
    )


def _model(context: Context) -> str:
    """Where the SavedModel lies, or goes to."""
    if context.run.has(Export.name):
        return str(context.load(Export).path)
    parent = context.config.model_folder
    return str(parent / str(next_number(parent)))


def _setup(context: Context) -> Setup:
    config = context.config
    backbone, semi = config.backbone, config.semi
    return Setup(
        encoder=EncoderSetup(backbone.name, bool(backbone.pretrained), config.trains_encoder)
        if context.has_images
        else None,
        heads=_head_setup(context),
        semi=SemiSetup(semi.labels_from, semi.labels_per_class) if semi.enabled else None,
        parts=_parts(context) if context.has_parts else None,
    )


def _head_setup(context: Context) -> HeadSetup:
    section, heads = context.config.self_labeling, (context.train_part or context).load(Heads)
    start = section.start
    if start == "words" and not heads.guidance.get("words"):
        start = "mixed"
    return HeadSetup(
        section.objective,
        start,
        len(heads.assignments),  # `sizes: auto` trains more than are asked for
        section.loss,
        section.entropy_weight,
        heads.guidance.get("reason", ""),
    )


def _parts(context: Context) -> PartsSetup:
    return PartsSetup(
        protocol=context.config.data.protocol,
        num_pretrained=context.plan.pretrain.num_images,
        num_clustered=context.plan.num_images,
        num_test=context.counts.test,
        duplicates_removed=context.duplicates_removed,
    )


def _json(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}

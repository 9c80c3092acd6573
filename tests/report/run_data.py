"""A small made-up run for the tests of the report."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np

from spice_keras.groups.changes import Changes, Part, Split
from spice_keras.groups.suggest import GroupCurves, GroupSuggestion
from spice_keras.metrics.cluster_links import ClusterLinks
from spice_keras.report.chart import Caption
from spice_keras.report.classes import Classes
from spice_keras.report.clustering import Clustering, Items
from spice_keras.report.data import ReliableSelection, ReportData, RunRecord, Training
from spice_keras.report.embedding_map import EmbeddingMap
from spice_keras.report.figures import draw_charts
from spice_keras.report.heads import HeadCurves
from spice_keras.report.prototypes import PrototypeMaps
from spice_keras.report.setup import EncoderSetup, HeadSetup, SemiSetup, Setup

NEED_IMAGES = ("semi", "kmeans_pixels")


def figures_row(**figures: Any) -> dict[str, Any]:
    """One method's figures, as the evaluation hands them over."""
    row: dict[str, Any] = {
        "acc": 0.9,
        "balanced_acc": 0.89,
        "nmi": 0.8,
        "nmi_arithmetic": 0.79,
        "ari": 0.78,
        "purity": 0.91,
        "local_consistency": 0.93,
        "silhouette": 0.4,
        "head_agreement": None,
        "size_balance": 0.99,
        "cluster_sizes": [],
    }
    return row | figures


def without_labels(row: dict[str, Any]) -> dict[str, Any]:
    return row | dict.fromkeys(("acc", "balanced_acc", "nmi", "nmi_arithmetic", "ari", "purity"))


def run_metrics() -> dict[str, Any]:
    return {
        "semi": figures_row(acc=0.96),
        "self": figures_row(acc=0.92, head_agreement=0.85),
        "kmeans_embeddings": figures_row(acc=0.8, local_consistency=0.9),
        "kmeans_pixels": figures_row(acc=0.7, local_consistency=0.7),
    }


def run_history() -> dict[str, list[dict[str, Any]]]:
    return {
        "pretrain": [
            {"epoch": 1, "loss": 6.0, "random_guess": 5.5, "embedding_std": 0.5},
            {"epoch": 2, "loss": 4.0, "random_guess": 5.5, "embedding_std": 0.8},
        ],
        "self": [
            {"loss": 1.7, "head_losses": [1.8, 1.6], "selected_loss": 1.6},
            {"loss": 1.5, "head_losses": [1.5, 1.7], "selected_loss": 1.5},
        ],
        "semi": [{"loss": 0.9, "mask_ratio": 0.2}, {"loss": 0.3, "mask_ratio": 0.8}],
    }


def head_curves(*, labels: bool = True) -> HeadCurves:
    """Three heads over four epochs: the second is chosen, the third is the best by labels."""
    losses = np.asarray([[1.9, 1.8, 1.85], [1.7, 1.6, 1.65], [1.66, 1.5, 1.52], [1.6, 1.51, 1.55]])
    accuracy = np.asarray([[0.5, 0.6, 0.4], [0.6, 0.7, 0.65], [0.6, 0.8, 0.9], [0.7, 0.8, 0.82]])
    measured = (accuracy, np.arange(4)) if labels else (None, None)
    return HeadCurves(losses, np.arange(4), (2, 1), 1, *measured)


def prototype_maps(members: dict[int, np.ndarray]) -> PrototypeMaps:
    """Random heat maps of the first three members of each cluster."""
    clusters = np.repeat([*members], [len(rows[:3]) for rows in members.values()])
    indices = np.concatenate([rows[:3] for rows in members.values()])
    maps = np.random.default_rng(3).uniform(-1, 1, (len(indices), 4, 5))
    return PrototypeMaps(indices, clusters, maps.astype(np.float32))


_Record = TypeVar("_Record")


def _made(record: type[_Record], values: dict[str, Any]) -> _Record:
    """Makes a record of the values named like its fields, and takes them out."""
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    return record(**{name: values.pop(name) for name in names if name in values})


def report_data(
    *, num_images: int = 60, num_clusters: int = 4, image_size: int = 16, **overrides: Any
) -> ReportData:
    """Builds a run of random images with every cluster filled.

    Overrides are named like the fields of the parts of `ReportData`; `labels=None` is a run
    without labels.
    """
    generator = np.random.default_rng(7)
    shape = (num_images, image_size, image_size, 3)
    clusters = np.arange(num_images, dtype=np.int32) % num_clusters
    clusters = overrides.pop("clusters", clusters)
    labels = np.arange(num_images) % 3
    confusion = np.zeros((3, num_clusters), dtype=np.int64)
    np.add.at(confusion, (labels, clusters), 1)
    reliable = generator.random(num_images) < 0.6
    members = {c: np.flatnonzero(clusters == c) for c in range(num_clusters)}
    values: dict[str, Any] = {
        "name": "sample",
        "created": "2026-01-02T03:04:05+00:00",
        "command": "spice evaluate runs/sample",
        "timings": {"pretrain": 61.0, "self": 2.5},
        "environment": {"python": "3.11"},
        "config_yaml": "seed: 0\n",
        "skipped": [("broken.jpg", "truncated file")],
        "notes": ["a stated adaptation"],
        "encoder": EncoderSetup("small_resnet", is_pretrained=False, is_trained=True),
        "head_setup": HeadSetup(num_heads=3),
        "semi": SemiSetup("reliable", 0),
        "images": generator.integers(0, 256, shape, dtype=np.uint8),
        "ids": [f"folder/{index:04d}.png" for index in range(num_images)],
        "num_clusters": num_clusters,
        "clusters": clusters,
        "confidence": generator.random(num_images, dtype=np.float32),
        "reliable": reliable,
        "agrees": generator.random(num_images) < 0.9,
        "prototypes": members,
        "least_certain": {c: indices[::-1] for c, indices in members.items()},
        "thresholds": {"consistency_threshold": 0.95, "repaired": []},
        "counts": np.bincount(clusters[reliable], minlength=num_clusters).tolist(),
        "metrics": run_metrics(),
        "history": run_history(),
        "heads": {"self": head_curves()},
        "points": generator.normal(size=(num_images, 2)).astype(np.float32),
        "indices": np.arange(num_images),
        "method": "t-SNE",
        "labels": labels,
        "names": ["cat", "dog", "owl"],
        "confusion": confusion,
        "matching": {0: 0, 1: 1, 2: 2},
        "prototype_maps": prototype_maps(members),
    }
    optional = {"parts", "links", "cluster_names", "words_from", "folder", "model", "groups"}
    unknown = overrides.keys() - values.keys() - optional
    assert not unknown, unknown
    return _assembled(values | overrides)


def _assembled(values: dict[str, Any]) -> ReportData:
    heads = values.pop("head_setup")
    parts = {key: values.pop(key) for key in ("encoder", "semi", "parts") if key in values}
    classes = _made(Classes, values)
    return ReportData(
        run=_made(RunRecord, values),
        setup=Setup(heads=heads, **parts),
        items=_made(Items, values),
        clustering=_made(Clustering, values),
        reliable=_made(ReliableSelection, values),
        training=_made(Training, values),
        embedding_map=_made(EmbeddingMap, values),
        classes=None if classes.labels is None else classes,
        metrics=values["metrics"],
        prototype_maps=values["prototype_maps"],
        groups=values.get("groups"),
    )


def cluster_links(**figures: Any) -> ClusterLinks:
    """Four clusters: 0 is tight, 1 and 2 mix, 3 may be two."""
    values: dict[str, Any] = {
        "kept": [0.95, 0.7, 0.5, 0.9],
        "mixes_with": [1, 2, 1, 0],
        "mixed_share": [0.02, 0.25, 0.3, 0.05],
        "stability": [0.9, 0.9, 0.9, 0.4],
        "split_share": [0.0, 0.0, 0.0, 0.7],
    }
    return ClusterLinks(**{name: np.asarray(row) for name, row in (values | figures).items()})


def suggestion() -> GroupSuggestion:
    """Three numbers tried, of which 3 is the best."""
    numbers = np.asarray([2, 3, 4])
    values = np.asarray([0.4, 0.6, 0.5])
    rows = {name: values for name in ("modularity", "relative", "score", "stability")}
    curves = GroupCurves(numbers, **rows, silhouette=np.full(3, np.nan), coding_length=values)
    changes = Changes(3, 4, (Split(1, 20, (Part(0, 12), Part(3, 8))),), (), 2)
    empty = np.zeros((3, 0), np.int32), np.zeros(0, np.int64)
    return GroupSuggestion(3, (3, 4), 4, None, changes, curves, *empty)


def label_free(**overrides: Any) -> ReportData:
    """Builds a run without labels."""
    metrics = {name: without_labels(row) for name, row in run_metrics().items()}
    heads = {"self": head_curves(labels=False)}
    return report_data(**({"metrics": metrics, "labels": None, "heads": heads} | overrides))


def captions(data: ReportData) -> dict[str, Caption]:
    """Name of each figure of a run to its caption."""
    return {chart.name: chart.caption for chart in draw_charts(data)}


def embedding_run(**overrides: Any) -> ReportData:
    """Builds a run on embeddings: no images, nor anything that needs them."""
    metrics = {name: row for name, row in run_metrics().items() if name not in NEED_IMAGES}
    history = {name: rows for name, rows in run_history().items() if name == "self"}
    values = {
        "images": None,
        "prototype_maps": None,
        "encoder": None,
        "semi": None,
        "head_setup": HeadSetup(objective="neighbors", start="kmeans", num_heads=3),
        "ids": [f"row-{index:04d}" for index in range(60)],
        "metrics": metrics | {"semi": None},
        "history": history,
        "skipped": [],
        "notes": [],
        "command": "spice self --embeddings features.npz --clusters 4",
        "timings": {"self": 2.5},
    }
    return report_data(**(values | overrides))

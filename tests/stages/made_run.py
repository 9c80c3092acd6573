"""A run directory made by hand: the artifacts of a finished run, without any training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.config import load_config
from spice_keras.progress import Loudness, Screen
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.networks import classified, save_network, semi_backbone
from spice_keras.run.store import Classifier, Embeddings, Heads, Items, Names
from spice_keras.stages.semi import build_spice_semi
from spice_keras.words.naming import ClusterName

CLUSTERS, PER_CLUSTER, SIDE = 3, 12, 8
COUNT = CLUSTERS * PER_CLUSTER


def truth() -> np.ndarray:
    """The group of each image, int32 [N]."""
    return (np.arange(COUNT) % CLUSTERS).astype(np.int32)


def make_context(path: Path, **options: Any) -> Context:
    """A run with images and well separated embeddings; `said` reads what it says."""
    overrides = {
        "num_clusters": CLUSTERS,
        "data.source": "folder",
        "data.path": "photos",
        "data.image_size": SIDE,
        "pretrain.batch_size": None,
        "pretrain.queue_size": None,
        "reliable.num_neighbors": 6,
        "reliable.min_per_cluster": 2,
        "evaluate.kmeans_restarts": 2,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    config = load_config(overrides=overrides)
    run = RunDirectory.create(path / "run", config.as_dict())
    console = Console(file=io.StringIO(), soft_wrap=True, highlight=False)
    context = Context(config, run, Screen(Loudness.NORMAL, console))
    rng = np.random.default_rng(0)
    with context.writing(Items) as folder:
        images = rng.integers(0, 200, (COUNT, SIDE, SIDE, 3), np.uint8)
        images[..., 0] += (truth() * 20).astype(np.uint8)[:, None, None]
        np.save(Items.pixels_file(folder), images)
        ids = [f"photos/{row:02d}.png" for row in range(COUNT)]
        Items(ids, [("bad.png", "cut short")]).save(folder)
    features = 3.0 * np.eye(CLUSTERS, 5)[truth()] + 0.1 * rng.normal(size=(COUNT, 5))
    features = features.astype(np.float32)
    neighbors = nearest_neighbors(l2_normalized(features), context.plan.reliable.num_neighbors)
    context.save(Embeddings(neighbors, features))
    context.save(Names((ClusterName(None, reason="No words."),) * CLUSTERS, None, False))
    return context


def said(context: Context) -> str:
    """What the run said so far."""
    file = context.screen.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def probabilities(clusters: np.ndarray, confidence: float | np.ndarray) -> np.ndarray:
    """float32 [N, K] that choose these clusters with this confidence."""
    sure = np.broadcast_to(np.asarray(confidence, np.float32), clusters.shape)
    rest = (1.0 - sure) / (CLUSTERS - 1)
    result = np.repeat(rest[:, None], CLUSTERS, axis=1)
    result[np.arange(len(clusters)), clusters] = sure
    return result.astype(np.float32)


def write_heads(
    context: Context, clusters: np.ndarray, confidence: float | np.ndarray = 0.999
) -> None:
    """Write what SPICE-Self leaves, two heads of which the second was chosen."""
    assignments = np.stack([truth(), clusters]).astype(np.int32)
    context.save(Heads(probabilities(clusters, confidence), assignments, 1, 4, 0.8))


def write_classifier(
    context: Context, clusters: np.ndarray, confidence: float | np.ndarray = 0.97
) -> None:
    """Write what SPICE-Semi leaves."""
    rng = np.random.default_rng(1)
    embedding = np.eye(CLUSTERS, 4)[clusters] + 0.1 * rng.normal(size=(COUNT, 4))
    embedding = l2_normalized(embedding.astype(np.float32))
    context.save(Classifier(probabilities(clusters, confidence), embedding))


def write_network(context: Context, clusters: np.ndarray) -> None:
    """Write what SPICE-Semi leaves with a network as it was drawn, and its own embeddings."""
    model = build_spice_semi(context)
    embedding = classified(model.ema_network, context.images).embeddings
    size = context.config.data.image_size
    with context.writing(Classifier) as folder:
        Classifier(probabilities(clusters, 0.97), embedding).save(folder)
        backbone = semi_backbone(context.config)
        save_network(folder, model.ema_network, backbone, image_size=size)

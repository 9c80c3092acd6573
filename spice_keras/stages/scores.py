"""The figures of merit of a run: against labels if there are any, and without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from spice_keras.clustering.kmeans import kmeans_clusters, pixel_kmeans_clusters
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.metrics.clustering import (
    adjusted_rand_index,
    balanced_accuracy,
    clustering_accuracy,
    normalized_mutual_information,
    purity,
)
from spice_keras.metrics.trust import (
    cluster_sizes,
    head_agreement,
    local_consistency_rate,
    silhouette,
    size_balance,
)
from spice_keras.options import neighbors_tell
from spice_keras.run.context import Context
from spice_keras.run.store import Classifier, Heads, Reliable
from spice_keras.stages.expectation import expectation, least

PixelClusters = Callable[[], np.ndarray | None]

_KMEANS_ROWS, _KMEANS_ROWS_PER_CLUSTER = 100_000, 100
"""The baseline's centres are fitted on a draw of so many of more items."""


def against_labels(clusters: np.ndarray, labels: np.ndarray | None) -> dict[str, float | None]:
    """Compare a clustering with labels.

    Args:
        clusters: Cluster of each item, int32 [N].
        labels: Class of each item, int32 [N], -1 where unknown; None without labels.

    Returns:
        `acc`, `balanced_acc`, `nmi`, `nmi_arithmetic`, `ari` and `purity`, each of the items
        whose class is known; None if there is no such item.
    """
    if labels is None or not (labels >= 0).any():
        return dict.fromkeys(("acc", "balanced_acc", "nmi", "nmi_arithmetic", "ari", "purity"))
    known = labels >= 0  # STL-10's unlabelled images carry -1
    labels, clusters = labels[known], clusters[known]
    return {
        "acc": clustering_accuracy(labels, clusters),
        "balanced_acc": balanced_accuracy(labels, clusters),
        "nmi": normalized_mutual_information(labels, clusters, "geometric"),
        "nmi_arithmetic": normalized_mutual_information(labels, clusters, "arithmetic"),
        "ari": adjusted_rand_index(labels, clusters),
        "purity": purity(labels, clusters),
    }


def without_labels(context: Context, clusters: np.ndarray, bank: FeatureBank) -> dict[str, Any]:
    """Judge a clustering by the embeddings alone.

    Args:
        context: The run.
        clusters: Cluster of each item, int32 [N].
        bank: Embeddings and neighbours of the items.

    Returns:
        `local_consistency` (without the item itself; None with fewer than four items a cluster),
        `silhouette` (None with one cluster in use), `size_balance`, `cluster_sizes`, and a place
        for `head_agreement`.
    """
    sizes = cluster_sizes(clusters, context.config.num_clusters)
    tell = neighbors_tell(len(clusters), context.config.num_clusters)
    return {
        "local_consistency": local_consistency_rate(clusters, bank.neighbors[:, 1:])
        if tell
        else None,
        "silhouette": silhouette(
            bank.normalized,
            clusters,
            max_samples=context.config.evaluate.silhouette_samples,
            seed=context.seed("silhouette"),
        ),
        "size_balance": size_balance(sizes),
        "cluster_sizes": sizes.tolist(),
        "head_agreement": None,
    }


def embedding_kmeans(context: Context) -> np.ndarray:
    """Cluster the embeddings by k-means, int32 [N]; of a test part, as fitted on the train part."""
    bank = context.bank
    fitted = bank if context.train_part is None else context.train_part.bank
    trained = context if context.train_part is None else context.train_part
    return kmeans_clusters(
        trained.cosine_rows(fitted.features),  # the plain baseline, whatever space the heads read
        context.config.num_clusters,
        seed=context.seed("kmeans"),
        num_init=context.config.evaluate.kmeans_restarts,
        max_samples=max(_KMEANS_ROWS, _KMEANS_ROWS_PER_CLUSTER * context.config.num_clusters),
        classified=context.cosine_rows(bank.features),
    )


def pixel_kmeans(context: Context) -> np.ndarray | None:
    """Cluster the pixels by k-means, int32 [N], as `embedding_kmeans` does; None without images."""
    if not context.has_images:
        return None
    return pixel_kmeans_clusters(
        (context.train_part or context).images,
        context.config.num_clusters,
        seed=context.seed("kmeans"),
        num_init=context.config.evaluate.kmeans_restarts,
        classified=context.images if context.train_part else None,
    )


def semi_labels(context: Context) -> dict[str, Any]:
    """State which labels SPICE-Semi was trained on, and of true ones how many of each class."""
    section = context.config.semi
    true = section.labels_from == "source"
    return {
        "labels_from": section.labels_from,
        "labels_per_class": section.labels_per_class if true else None,
    }


def clusterings(context: Context, pixels: PixelClusters | None = None) -> dict[str, np.ndarray]:
    """Return every clustering of the run, and k-means for comparison, by name.

    For a test part, k-means is fitted on the train images as well.

    Args:
        context: The finished run.
        pixels: Waits for clusters of `pixel_kmeans` that are being worked out, and is asked last;
            None to work them out here.
    """
    config = context.config
    found = {"self": context.load(Heads).clusters}
    if config.semi.enabled:
        found["semi"] = context.load(Classifier).clusters
    found["kmeans_embeddings"] = embedding_kmeans(context)
    of_pixels = pixel_kmeans(context) if pixels is None else pixels()
    return found if of_pixels is None else found | {"kmeans_pixels": of_pixels}


def score(
    context: Context, labels: np.ndarray | None, *, pixels: PixelClusters | None = None
) -> dict[str, Any]:
    """Work out metrics.json.

    Args:
        context: The finished run.
        labels: int32 [N], -1 where unknown; None where there are none.
        pixels: As `clusterings` takes it.

    Returns:
        Objects `self`, `semi` (null if switched off), `kmeans_embeddings` and `kmeans_pixels` (null
        without images) with figures against labels and without, and facts of the run.
    """
    bank = context.bank
    found = clusterings(context, pixels)
    metrics: dict[str, Any] = {
        name: {**against_labels(clusters, labels), **without_labels(context, clusters, bank)}
        for name, clusters in found.items()
    }
    metrics = {"semi": None, "kmeans_pixels": None} | metrics
    if metrics["semi"] is not None:
        metrics["semi"] |= semi_labels(context)
    result = context.load(Heads)
    metrics["self"] |= {
        "objective": context.config.self_labeling.objective,
        # Heads that began at the same words agree; that says nothing.
        "head_agreement": None if result.guided else head_agreement(result.assignments),
        "head": result.head,
        "epoch": result.epoch,
        "selection_loss": result.loss,
        "guidance": dict(result.guidance) or None,
        "before_refinement": None
        if result.unrefined is None
        else against_labels(result.unrefined, labels),
    }
    reliable = context.load(Reliable)
    rows, clusters = reliable.indices, reliable.labels
    metrics["reliable"] = {
        "count": len(rows),
        "share": len(rows) / len(context.ids)
        if neighbors_tell(len(context.ids), context.config.num_clusters)
        else None,
        "per_cluster": cluster_sizes(clusters, context.config.num_clusters).tolist(),
        "acc": against_labels(clusters, None if labels is None else labels[rows])["acc"],
    }
    metrics |= _expectations(context, result)
    metrics["num_images"] = len(context.ids)
    metrics["num_clusters"] = context.config.num_clusters
    metrics["skipped_files"] = len(context.skipped)
    return metrics


def _expectations(context: Context, heads: Heads) -> dict[str, Any]:
    """What accuracy to expect, and to expect at least; None where it is not known."""
    if context.config.semi.enabled:
        return {"expected_accuracy": None, "least_accuracy": None}
    expected = expectation(context, heads)
    return {
        "expected_accuracy": None if expected is None else asdict(expected),
        "least_accuracy": least(context, heads),
    }

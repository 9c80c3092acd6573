"""What the figures of the report show: maps, prototypes, and the history of the heads."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from spice_keras.algorithm.heat_maps import cosine_heat_maps
from spice_keras.algorithm.prototypes import num_confident
from spice_keras.metrics.clustering import clustering_accuracy
from spice_keras.report.embedding_map import EmbeddingMap
from spice_keras.report.heads import HeadCurves
from spice_keras.report.prototypes import PrototypeMaps
from spice_keras.run.context import Context
from spice_keras.run.networks import pretrained_encoder, semi_network
from spice_keras.run.results import FinalResult
from spice_keras.run.store import Heads
from spice_keras.scratch import gathered

FEATURE_MAP = "feature_map"
_MAPPED_PROTOTYPES = 3  # as many as the paper shows
_MAP_BATCH = 32
# Of 2,000 photographs: a divergence of 1.02 in a tenth of the processor time, in place of 1.01 by
# 1,000 steps at an angle of 0.5 on two threads, which wait for each other by turning in circles.
_TSNE_STEPS, _TSNE_ANGLE, _TSNE_THREADS = 500, 0.8, 1


def cluster_centers(context: Context, result: FinalResult) -> dict[int, np.ndarray]:
    """Return the centre [D] of each cluster that has members (Eq. 1-2 on all images)."""
    size = num_confident(len(result.clusters), context.config.num_clusters, 0.5)
    centers = {}
    for cluster in np.unique(result.clusters).tolist():
        members = np.flatnonzero(result.clusters == cluster)
        sure = members[np.argsort(-result.confidence[members], kind="stable")[:size]]
        centers[cluster] = gathered(result.embeddings, sure).mean(axis=0)
    return centers


def prototype_images(context: Context, result: FinalResult) -> dict[int, np.ndarray]:
    """Rank each cluster's members by similarity to its centre."""
    ranked = {}
    for cluster, center in cluster_centers(context, result).items():
        members = np.flatnonzero(result.clusters == cluster)
        similarity = gathered(result.embeddings, members) @ center
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


def prototype_maps(
    context: Context, result: FinalResult, ranked: dict[int, np.ndarray]
) -> PrototypeMaps | None:
    """Work out the heat maps of each cluster's first prototypes.

    Args:
        context: The finished run.
        result: Its clustering.
        ranked: Each cluster's members, best first.

    Returns:
        The maps; None without images, or if the network that embedded them has no last feature
        map with as many channels as its embeddings.
    """
    network = _feature_map_model(context) if context.has_images else None
    if network is None:
        return None
    first = {cluster: members[:_MAPPED_PROTOTYPES] for cluster, members in ranked.items()}
    clusters = np.repeat([*first], [len(members) for members in first.values()])
    indices = np.concatenate([*first.values()])
    centers = cluster_centers(context, result)
    wanted = np.stack([centers[cluster] for cluster in clusters.tolist()])
    maps = []
    for start in range(0, len(indices), _MAP_BATCH):
        rows = slice(start, start + _MAP_BATCH)
        features = _grid(network(tf.constant(context.images[indices[rows]]), training=False))
        if features is None or features.shape[-1] != wanted.shape[1]:
            return None
        maps.append(cosine_heat_maps(features, wanted[rows]))
    return PrototypeMaps(indices, clusters, np.concatenate(maps))


def _grid(features: tf.Tensor) -> np.ndarray | None:
    """Bring the last feature map to [B, h, w, D]; None if it is a vector or a single position.

    That of a transformer is a list of patches.
    """
    values = tf.cast(features, tf.float32).numpy()
    if values.ndim == 3:
        side = math.isqrt(values.shape[1])
        # A class token, and registers if there are any, come before the patches.
        patches = values[:, values.shape[1] - side**2 :]
        return patches.reshape(len(values), side, side, -1)
    return values if values.ndim == 4 and min(values.shape[1:3]) > 1 else None


def _feature_map_model(context: Context) -> keras.Model | None:
    """Cut the network behind the final embeddings at its last feature map; None if it has none."""
    config = context.config
    network = semi_network(context) if config.semi.enabled else pretrained_encoder(context)
    if FEATURE_MAP not in {layer.name for layer in network.layers}:
        return None
    return keras.Model(network.input, network.get_layer(FEATURE_MAP).output)


def head_curves(context: Context, labels: np.ndarray | None) -> dict[str, HeadCurves]:
    """Read what every head did epoch by epoch, and measure its accuracy if there are labels.

    Args:
        context: The run whose images were clustered.
        labels: Of those images, int32 [N], -1 where unknown; None without labels.

    Returns:
        "self", and "refine" if that ran; neither in a run of an older version.
    """
    found = {}
    for phase, arrays in context.load(Heads).histories.items():
        epoch, head = arrays["chosen"].tolist()
        accuracy = epochs = None
        if labels is not None and (labels >= 0).any() and "assignments" in arrays:
            accuracy = accuracies(arrays["assignments"], labels)
            epochs = arrays["kept"]
        if "losses" in arrays:
            found[phase] = HeadCurves(
                arrays["losses"],
                arrays["epochs"],
                (epoch, head) if epoch >= 0 else None,
                int(arrays["first_judged"]),
                accuracy,
                epochs,
                bool(arrays.get("by_score", False)),
            )
    return found


def accuracies(assignments: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ACC [A, H] of clusters [A, H, N] against labels [N], those below 0 left out."""
    known = labels >= 0
    return np.array(
        [
            [clustering_accuracy(labels[known], clusters[known]) for clusters in heads]
            for heads in assignments
        ]
    )


def embedding_map(context: Context, embeddings: np.ndarray) -> EmbeddingMap:
    """Place a sample of the embeddings in the plane.

    Args:
        context: The run, whose configuration says how many and by which projection.
        embeddings: Of all its items, float32 [N, D].

    Returns:
        Points float32 [n, 2] of rows int64 [n], which ascend.
    """
    section, seed = context.config.evaluate, context.seed("map")
    count = min(section.map_samples, len(embeddings))
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(embeddings), count, replace=False))
    drawn = gathered(embeddings, rows)
    tsne = section.map_method == "tsne" and count > 10
    # `n_jobs` alone leaves its gradient two threads: 2.4 s of processor time become 3.6.
    with threadpool_limits(_TSNE_THREADS):
        points = PCA(min(50, *drawn.shape), random_state=seed).fit_transform(drawn)
        places = _by_tsne(points, seed) if tsne else points[:, :2]
    return EmbeddingMap(places, rows, "t-SNE" if tsne else "PCA")


def _by_tsne(points: np.ndarray, seed: int) -> np.ndarray:
    """Place points in the plane, near ones near each other."""
    tsne = TSNE(
        2,
        perplexity=min(30.0, (len(points) - 1) / 3),
        init="pca",
        max_iter=_TSNE_STEPS,
        angle=_TSNE_ANGLE,
        random_state=seed,
        n_jobs=_TSNE_THREADS,
    )
    return tsne.fit_transform(points)

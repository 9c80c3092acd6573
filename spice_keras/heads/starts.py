"""Clusters for the heads to start from: another restart of k-means for each."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.balanced_kmeans import balanced_kmeans
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.clustering.spectral import spectral_clusters
from spice_keras.heads.classifier import MultiHeadClassifier, scaled_features
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.semantic_space import cluster_means
from spice_keras.models.replicas import apply_gradients
from spice_keras.options import Start

_SPECTRAL_NEIGHBORS = 20


def start_clusters(
    bank: FeatureBank, start: Start, num_clusters: int, *, num_heads: int, seed: int
) -> np.ndarray | None:
    """Find the clusters that each head starts from.

    Args:
        bank: The features.
        start: How; ``"spectral"`` falls back to balanced k-means if the graph has no answer, and
            ``"mixed"``, as does ``"words"`` where no words guide, takes half of the heads, rounded
            up, from there and half from k-means.
        num_clusters: K.
        num_heads: H.
        seed: Seed of the restarts.

    Returns:
        Integers [H, N]; None to start at random weights.
    """
    if start == "random":
        return None
    if start in ("mixed", "words"):
        counts: dict[Start, int] = {
            "spectral": num_heads - num_heads // 2,
            "kmeans": num_heads // 2,
        }
        return np.concatenate(
            [
                start_clusters(bank, half, num_clusters, num_heads=count, seed=seed)
                for half, count in counts.items()
                if count
            ]
        )
    if start == "spectral":
        neighbors = _centered_neighbors(bank, num_clusters)
        found = spectral_clusters(neighbors, num_clusters, seed=seed, num_init=num_heads)
        if found is not None:
            return found
    if start in ("balanced-kmeans", "spectral"):
        return balanced_kmeans(
            bank.normalized, num_clusters, seed=seed, num_init=num_heads
        ).clusters
    seeds = np.random.default_rng(seed).integers(2**31, size=num_heads)
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the heads' empty clusters tell that better.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.stack(
            [kmeans_clusters(bank.normalized, num_clusters, seed=one, num_init=1) for one in seeds]
        )


def _centered_neighbors(bank: FeatureBank, num_clusters: int) -> np.ndarray:
    """Neighbours by what sets embeddings apart: most encoders' share a large mean."""
    normalized = bank.normalized
    centered = l2_normalized(normalized - normalized.mean(axis=0))
    count = min(_SPECTRAL_NEIGHBORS, max(1, len(normalized) // (2 * num_clusters)))
    return bank.search(centered, min(len(normalized), 1 + count))[:, 1:]


def start_centroids(bank: FeatureBank, num_clusters: int, clusters: np.ndarray) -> np.ndarray:
    """Mean direction of each head's clusters [H, N]: [H, K, D], 0 for an empty one."""
    members = np.eye(num_clusters, dtype=np.float32)
    return np.stack([l2_normalized(members[head].T @ bank.normalized) for head in clusters])


def start_at_centroids(
    classifier: MultiHeadClassifier,
    embeddings: np.ndarray,
    centroids: np.ndarray,
    *,
    confidence: float = 0.7,
) -> None:
    """Sets linear heads so that each scores the clusters by cosine to its centroids.

    The scale of the logits is found for each head by bisection: cosines of one encoder spread
    ten times as far as those of another, and a start too sure of itself hardly moves.

    Args:
        classifier: Built, linear, reading unit rows of the space that `embeddings` are of.
        embeddings: L2-normalised embeddings ``[N, D]``.
        centroids: Unit directions of each head's clusters ``[H, K, D]``.
        confidence: Mean largest probability to start from, in (1 / K, 1).

    Raises:
        ValueError: If the classifier is of another form or the shapes disagree.
    """
    heads, clusters = classifier.num_heads, classifier.num_clusters
    if not (classifier.built and classifier.linear and classifier.space.scale != "none"):
        raise ValueError(
            "Only built linear heads that scale their input start at centroids. Received: "
            f"built={classifier.built}, linear={classifier.linear}, "
            f"input_scale={classifier.space.scale!r}"
        )
    if centroids.shape != (heads, clusters, embeddings.shape[1]):
        raise ValueError(
            f"Expected centroids [{heads}, {clusters}, {embeddings.shape[1]}]. "
            f"Received: centroids.shape={centroids.shape}"
        )
    kernels, biases = [], []
    for directions in centroids:
        cosines = embeddings @ directions.T
        scale = _scale_of(cosines, confidence)
        kernels.append(scale / embeddings.shape[1] ** 0.5 * directions.T)
        # A bias that makes logits small: softmax does not see it, weight rounding does.
        biases.append(np.full(clusters, -scale * cosines.mean()))
    classifier.set_weights([np.stack(kernels), np.stack(biases)])


def _scale_of(cosines: np.ndarray, confidence: float) -> float:
    """Factor of the cosines at which the mean largest probability is `confidence`."""
    below = cosines - cosines.max(axis=1, keepdims=True)
    low, high = 0.0, 1e5
    for _ in range(40):
        middle = (low + high) / 2.0
        mean = float(np.mean(1.0 / np.exp(middle * below).sum(axis=1)))
        low, high = (middle, high) if mean < confidence else (low, middle)
    return high


def start_at_centers(
    classifier: MultiHeadClassifier,
    features: np.ndarray,
    clusters: np.ndarray,
    *,
    alpha: float | None = None,
    confidence: float = 0.7,
) -> None:
    """Sets linear heads so that each scores the clusters by distance to their centres.

    With ``W = 2 alpha M`` and ``b = -alpha |M|^2`` the probabilities are
    ``softmax(-alpha |u - M_k|^2)``. M are the means, in the space the heads read, of the clusters;
    that of an empty cluster is the mean of all.

    Args:
        classifier: Built, linear, with any scale of its input.
        features: What the heads read, float32 ``[N, D]``.
        clusters: Cluster of each sample for each head, integers ``[H, N]``.
        alpha: Above 0; None for the one at which the mean largest probability of each head is
            `confidence`.
        confidence: In (1 / K, 1).

    Raises:
        ValueError: If the classifier is of another form or the shapes disagree.

    SIC (arXiv 2208.09849), `center_init` of the released code.
    """
    heads, num_clusters = classifier.num_heads, classifier.num_clusters
    if not (classifier.built and classifier.linear and clusters.shape == (heads, len(features))):
        raise ValueError(
            f"Only built linear heads start at centres, and need clusters [{heads}, "
            f"{len(features)}]. Received: built={classifier.built}, linear={classifier.linear}, "
            f"clusters.shape={clusters.shape}"
        )
    inputs = scaled_features(tf.constant(features), classifier.space).numpy()
    kernels, biases = [], []
    for one in clusters:
        centers = np.tile(inputs.mean(axis=0), (num_clusters, 1))
        centers[np.unique(one)] = cluster_means(inputs, one)
        squares = np.square(centers).sum(axis=1)
        scores = 2.0 * inputs @ centers.T - squares
        scale = _scale_of(scores, confidence) if alpha is None else alpha
        kernels.append(2.0 * scale * centers.T)
        biases.append(-scale * squares)
    classifier.set_weights([np.stack(kernels), np.stack(biases)])


def soften(classifier: MultiHeadClassifier, logits: np.ndarray, *, confidence: float = 0.7) -> None:
    """Scales each head's output layer to a mean largest probability if it is surer than that.

    Heads that another loss has trained to be certain have no gradient left for the next one.

    Args:
        classifier: Built, of any form.
        logits: What each head says of all samples ``[H, N, K]``.
        confidence: Mean largest probability to start from, in (1 / K, 1).
    """
    *weights, kernels, biases = classifier.get_weights()
    scales = np.array([min(1.0, _scale_of(head, confidence)) for head in logits], np.float32)
    classifier.set_weights(
        [*weights, kernels * scales[:, np.newaxis, np.newaxis], biases * scales[:, np.newaxis]]
    )


def fit_heads(
    classifier: MultiHeadClassifier,
    features: np.ndarray,
    clusters: np.ndarray,
    *,
    seed: int,
    learning_rate: float = 1e-3,
    num_steps: int = 200,
    batch_size: int = 256,
) -> None:
    """Trains every head for a short while to give the clusters that it should start from.

    Cross-entropy, all heads in one batched product, on the same rows of features.

    Args:
        classifier: Built, of any form.
        features: What the heads read, float32 ``[N, D]``.
        clusters: Cluster of each sample for each head, integers ``[H, N]``.
        seed: Seed of the drawn batches.
        learning_rate: Learning rate of Adam.
        num_steps: Optimizer steps.
        batch_size: Rows a step, drawn with replacement.

    Raises:
        ValueError: If the shapes disagree.
    """
    if clusters.shape != (classifier.num_heads, len(features)):
        raise ValueError(
            f"Expected clusters [{classifier.num_heads}, {len(features)}]. "
            f"Received: clusters.shape={clusters.shape}"
        )
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(classifier.trainable_variables)

    @tf.function(jit_compile=False)
    def step(rows: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, classifier(rows))
            # A mean over the batch and a sum over heads: each head takes its own step.
            loss = tf.reduce_sum(tf.reduce_mean(losses, axis=1))
        gradients = tape.gradient(loss, classifier.trainable_variables)
        apply_gradients(optimizer, gradients, classifier.trainable_variables)

    generator = np.random.default_rng(seed)
    for _ in range(num_steps):
        drawn = generator.integers(0, len(features), batch_size)
        step(tf.constant(features[drawn], tf.float32), tf.constant(clusters[:, drawn], tf.int32))

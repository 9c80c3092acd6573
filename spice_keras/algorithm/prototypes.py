"""Cluster prototypes of SPICE-Self: the mean embedding of each cluster's most confident samples."""

from __future__ import annotations

import tensorflow as tf

from spice_keras.algorithm.claims import claimed_samples, sized_claims
from spice_keras.options import ClaimRule


def log_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Log-softmax that keeps ordering very confident samples.

    A float32 softmax is exactly 1 from a margin of about 17 on, and so is the usual
    log-softmax exactly 0: the most confident samples of a cluster tie and their order is lost.
    Summing the other clusters apart and using log1p keeps them distinct up to a margin of
    about 87.

    Args:
        logits: Scores of the clusters. Shape: (..., num_clusters).

    Returns:
        float32 log-probabilities, at most 0. Shape: (..., num_clusters).

    SPICE (arXiv 2103.09382) Sec. 3.2, the probabilities that Eq. 1 ranks.
    """
    logits = tf.cast(logits, tf.float32)
    best = tf.one_hot(tf.argmax(logits, axis=-1), tf.shape(logits)[-1], dtype=tf.float32)
    shifted = logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True))
    others = tf.reduce_sum((1.0 - best) * tf.exp(shifted), axis=-1, keepdims=True)
    return shifted - tf.math.log1p(others)


def num_confident(num_samples: int, num_clusters: int, confident_ratio: float) -> int:
    """How many of its most confident samples stand for a cluster.

    Args:
        num_samples: M, samples labelled together, at least `num_clusters`.
        num_clusters: K, at least 1.
        confident_ratio: r in (0, 1], the share of an even cluster's M // K samples.

    Returns:
        max(1, int(r * (M // K))).

    Raises:
        ValueError: If there are fewer samples than clusters or the ratio is out of range.

    SPICE (arXiv 2103.09382) Sec. 3.2, Step 1.
    """
    if num_clusters < 1 or num_samples < num_clusters:
        raise ValueError(
            "Each cluster needs a sample: give more samples or ask for fewer clusters. "
            f"Received: {num_samples=}, {num_clusters=}"
        )
    if not 0 < confident_ratio <= 1:
        raise ValueError(f"`confident_ratio` must lie in (0, 1]. Received: {confident_ratio=}")
    return max(1, int(confident_ratio * (num_samples // num_clusters)))


def confident_samples(
    log_probabilities: tf.Tensor, num_confident: int, assignment: ClaimRule = "overlap"
) -> tf.Tensor:
    """The samples that each head most confidently puts into each cluster.

    The ranking is by log-probability, because a float32 softmax saturates at 1. Equal values
    go to the lower index, so the samples should come in random order.

    Args:
        log_probabilities: Log probabilities of every head, for the weak views.
            Shape: (num_heads, num_samples, num_clusters).
        num_confident: n_t, samples per cluster, between 1 and num_samples.
        assignment: Whether a sample may stand for several clusters.

    Returns:
        int32 sample indices, best first. Shape: (num_heads, num_clusters, num_confident).

    Raises:
        ValueError: If `num_confident` does not lie between 1 and the number of samples.

    SPICE (arXiv 2103.09382) Eq. 1, Sec. 3.2.
    """
    _check_top(num_confident, log_probabilities.shape[1], "num_confident")
    by_cluster = tf.transpose(tf.cast(log_probabilities, tf.float32), [0, 2, 1])
    return claimed_samples(by_cluster, num_confident, assignment)


def prototypes(
    embeddings: tf.Tensor,
    log_probabilities: tf.Tensor,
    num_confident: int,
    assignment: ClaimRule = "overlap",
) -> tf.Tensor:
    """Prototype of each cluster: the plain mean embedding of its most confident samples.

    The mean is not renormalised: within a cluster that changes no ranking.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        log_probabilities: Log probabilities of every head, for the weak views.
            Shape: (num_heads, num_samples, num_clusters).
        num_confident: n_t, samples per cluster, between 1 and num_samples.
        assignment: Whether a sample may stand for several clusters.

    Returns:
        float32 prototypes. Shape: (num_heads, num_clusters, dim).

    Raises:
        ValueError: If `num_confident` does not lie between 1 and the number of samples.

    SPICE (arXiv 2103.09382) Eq. 1-2, Sec. 3.2.
    """
    chosen = confident_samples(log_probabilities, num_confident, assignment)
    return tf.reduce_mean(tf.gather(tf.cast(embeddings, tf.float32), chosen), axis=2)


def sized_prototypes(
    embeddings: tf.Tensor,
    log_probabilities: tf.Tensor,
    counts: tf.Tensor,
    assignment: ClaimRule = "overlap",
) -> tf.Tensor:
    """Prototypes of clusters that are stood for by different numbers of samples.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        log_probabilities: Log probabilities of every head, for the weak views.
            Shape: (num_heads, num_samples, num_clusters).
        counts: Integers, samples that stand for each cluster, at least 1.
            Shape: (num_heads, num_clusters).
        assignment: Whether a sample may stand for several clusters.

    Returns:
        float32 prototypes. Shape: (num_heads, num_clusters, dim).

    SPICE (arXiv 2103.09382) Eq. 1-2, for clusters of unequal size.
    """
    by_cluster = tf.transpose(tf.cast(log_probabilities, tf.float32), [0, 2, 1])
    chosen = tf.cast(sized_claims(by_cluster, counts, assignment), tf.float32)
    sums = tf.einsum("hkm,md->hkd", chosen, tf.cast(embeddings, tf.float32))
    return sums / tf.cast(counts, tf.float32)[:, :, tf.newaxis]


def _check_top(count: int, num_samples: int | None, name: str) -> None:
    if count < 1 or (num_samples is not None and count > num_samples):
        raise ValueError(
            f"`{name}` must lie between 1 and the number of samples. "
            f"Received: {name}={count}, num_samples={num_samples}"
        )

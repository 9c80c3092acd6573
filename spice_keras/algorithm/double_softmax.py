"""Double-softmax cross-entropy: the loss of SPICE-Self, soft enough for noisy pseudo-labels."""

from __future__ import annotations

import math

import tensorflow as tf


def double_softmax_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of softmax(softmax(logits)).

    The second softmax bounds the loss to a band of one nat, so that no wrong pseudo-label can
    dominate. Its smallest value is `double_softmax_floor`, not 0: values are not comparable
    with those of an ordinary cross-entropy.

    Args:
        labels: Integer labels in 0..num_clusters-1. Shape: (...).
        logits: Scores of the clusters, before any softmax. Shape: (..., num_clusters).

    Returns:
        float32 loss of each item, in nats. Shape: (...).

    SPICE (arXiv 2103.09382) Eq. 4, Sec. 3.2.
    """
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32), axis=-1)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=probabilities)


def double_softmax_floor(num_clusters: int) -> float:
    """The double-softmax cross-entropy of a perfect one-hot prediction, its smallest value.

    Args:
        num_clusters: K, at least 1.

    Returns:
        ln(1 + (K - 1) / e), in nats; the largest possible loss is one nat above.

    Raises:
        ValueError: If there is no cluster.

    SPICE (arXiv 2103.09382) Eq. 4 at a one-hot probability vector.
    """
    if num_clusters < 1:
        raise ValueError(f"`num_clusters` must be at least 1. Received: {num_clusters=}")
    return math.log1p((num_clusters - 1) / math.e)

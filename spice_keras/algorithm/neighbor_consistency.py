"""Neighbour consistency: nearest neighbours should get the same cluster, the clusters even use."""

from __future__ import annotations

import tensorflow as tf


def neighbor_consistency(
    log_probabilities: tf.Tensor, neighbor_log_probabilities: tf.Tensor
) -> tf.Tensor:
    """How much a sample and its neighbour disagree: minus the log of their dot product.

    The dot product is the probability that both draw the same cluster. It is taken as a
    log-sum-exp of log-probabilities: two heads sure of different clusters have a dot product that
    float32 rounds to 0, and a log of 0 has no gradient.

    Args:
        log_probabilities: Log-softmax for the samples. Shape: (..., num_clusters).
        neighbor_log_probabilities: For one neighbour of each. Shape: (..., num_clusters).

    Returns:
        float32 ``-ln <p, q>`` of each pair, in nats, at least 0. Shape: (...).

    SCAN (arXiv 2005.12320) Eq. 2, first term.
    """
    ours = tf.cast(log_probabilities, tf.float32)
    theirs = tf.cast(neighbor_log_probabilities, tf.float32)
    return -tf.reduce_logsumexp(ours + theirs, axis=-1)


def log_mean_probabilities(log_probabilities: tf.Tensor) -> tf.Tensor:
    """Log of a batch's mean probabilities, the batch kept as an axis of one.

    Means of batches of one size, joined along that axis, are averaged by a second call as the
    whole batch would be.

    Args:
        log_probabilities: Log-softmax for a batch. Shape: (..., batch, num_clusters).

    Returns:
        float32. Shape: (..., 1, num_clusters).
    """
    scores = tf.cast(log_probabilities, tf.float32)
    batch = tf.cast(tf.shape(scores)[-2], tf.float32)
    return tf.reduce_logsumexp(scores, axis=-2, keepdims=True) - tf.math.log(batch)


def mean_entropy(log_probabilities: tf.Tensor) -> tf.Tensor:
    """How evenly a batch uses the clusters: entropy of its mean probabilities.

    Args:
        log_probabilities: Log-softmax for a batch. Shape: (..., batch, num_clusters).

    Returns:
        float32 entropy in nats, from 0 to ln(num_clusters). Shape: (...).

    SCAN (arXiv 2005.12320) Eq. 2, second term (there with the opposite sign).
    """
    log_means = tf.squeeze(log_mean_probabilities(log_probabilities), axis=-2)
    return -tf.reduce_sum(tf.exp(log_means) * log_means, axis=-1)

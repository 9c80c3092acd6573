"""InfoNCE, the contrastive loss of MoCo: find the one positive key among a queue of others."""

from __future__ import annotations

import math

import tensorflow as tf


def info_nce_logits(
    queries: tf.Tensor, keys: tf.Tensor, queue: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Cosine of each query with its positive key and with every queued negative, over T.

    Only the queries receive a gradient: keys and queue are constants of the loss.

    Args:
        queries: L2-normalised projections of the query network. Shape: (batch, dim).
        keys: L2-normalised projections of the key network, row by row the positives.
            Shape: (batch, dim).
        queue: L2-normalised keys of earlier batches, the negatives. Shape: (queue_size, dim).
        temperature: T, positive; smaller is sharper.

    Returns:
        float32 logits with the positive in column 0. Shape: (batch, 1 + queue_size).

    Raises:
        ValueError: If the temperature is not positive.

    MoCo (arXiv 1911.05722) Eq. 1, used by SPICE (arXiv 2103.09382) Sec. 3.1.
    """
    if temperature <= 0:
        raise ValueError(
            f"`temperature` must be positive (MoCo v2 uses 0.2). Received: {temperature=}"
        )
    queries = tf.cast(queries, tf.float32)
    keys = tf.stop_gradient(tf.cast(keys, tf.float32))
    queue = tf.stop_gradient(tf.cast(queue, tf.float32))
    positive = tf.reduce_sum(queries * keys, axis=1, keepdims=True)
    negative = tf.matmul(queries, queue, transpose_b=True)
    return tf.concat([positive, negative], axis=1) / temperature


def info_nce(
    queries: tf.Tensor, keys: tf.Tensor, queue: tf.Tensor, temperature: float
) -> tf.Tensor:
    """InfoNCE: cross-entropy of picking the positive key out of 1 + queue_size candidates.

    Args:
        queries: L2-normalised projections of the query network. Shape: (batch, dim).
        keys: L2-normalised projections of the key network. Shape: (batch, dim).
        queue: L2-normalised keys of earlier batches. Shape: (queue_size, dim).
        temperature: T, positive.

    Returns:
        float32 loss of each query, in nats. Shape: (batch,).

    Raises:
        ValueError: If the temperature is not positive.

    MoCo (arXiv 1911.05722) Eq. 1.
    """
    logits = info_nce_logits(queries, keys, queue, temperature)
    # The positive sits in column 0, so its cross-entropy needs no label tensor.
    return tf.reduce_logsumexp(logits, axis=1) - logits[:, 0]


def random_guess_loss(queue_size: int) -> float:
    """InfoNCE of a network that cannot tell the positive key from the negatives.

    A loss that rises towards this value at the start of training is not divergence: the queue
    is filling with keys as hard as the positive.

    Args:
        queue_size: Number of negatives, at least 0.

    Returns:
        ln(1 + queue_size), in nats.

    Raises:
        ValueError: If the queue size is negative.

    MoCo (arXiv 1911.05722) Eq. 1 with all similarities equal.
    """
    if queue_size < 0:
        raise ValueError(f"`queue_size` must not be negative. Received: {queue_size=}")
    return math.log1p(queue_size)

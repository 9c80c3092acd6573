"""The key queue of MoCo: the keys of the latest batches, newest first."""

from __future__ import annotations

import tensorflow as tf


def initial_queue(size: int, dim: int, seed: int) -> tf.Tensor:
    """A queue before the first batch: random directions on the unit sphere.

    Args:
        size: Number of keys the queue holds, at least 1.
        dim: Dimension of a key, at least 1.
        seed: An int32; equal seeds give equal queues.

    Returns:
        float32 rows of unit length. Shape: (size, dim).

    Raises:
        ValueError: If size or dim is below 1.

    MoCo (arXiv 1911.05722) Sec. 3.2.
    """
    if size < 1 or dim < 1:
        raise ValueError(f"`size` and `dim` must be at least 1. Received: {size=}, {dim=}")
    rows = tf.random.stateless_normal([size, dim], seed=tf.constant([seed, 0], tf.int32))
    return tf.math.l2_normalize(rows, axis=1)


def enqueue(queue: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Put a batch of keys in front of the queue and drop as many from its end.

    There is no pointer and no scatter: the batch size may change from call to call, need not
    divide the queue size, and the result is the same under deterministic ops. A batch larger
    than the queue leaves its first `queue_size` keys.

    Args:
        queue: Earlier keys, newest batch first. Shape: (queue_size, dim).
        keys: Keys of the current batch, kept in batch order. Shape: (batch, dim).

    Returns:
        The new queue in the dtype of the old one. Shape: (queue_size, dim).

    MoCo (arXiv 1911.05722) Sec. 3.2, "Dictionary as a queue".
    """
    newest_first = tf.concat([tf.cast(keys, queue.dtype), queue], axis=0)
    updated = tf.stop_gradient(newest_first[: tf.shape(queue)[0]])
    return tf.ensure_shape(updated, queue.shape)

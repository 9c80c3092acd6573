"""Steps on several replicas: what one of them needs of the others.

On one replica, which is the rule, every function gives back what it was given.
"""

from __future__ import annotations

import tensorflow as tf


def num_replicas() -> int:
    """Number of replicas that take a step together: 1 outside a `tf.distribute` strategy."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def gathered(share: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """The shares of all replicas, joined in their order.

    A gradient comes back to a share as the sum of those that all replicas send.

    Args:
        share: Of this replica; the same shape on each.
        axis: Where they are joined, at least 0.

    Returns:
        The whole, the same on each replica.
    """
    if num_replicas() == 1:
        return share
    gather = tf.distribute.get_replica_context().all_gather
    if share.dtype != tf.uint8:
        return gather(share, axis=axis)
    # Collective operations on GPUs have no kernel for small integers: four are sent as one.
    shape = share.shape
    if axis == 0 and shape[1:].is_fully_defined() and shape[1:].num_elements() % 4 == 0:
        packed = tf.bitcast(tf.reshape(share, [tf.shape(share)[0], -1, 4]), tf.int32)
        return tf.reshape(tf.bitcast(gather(packed, axis=0), tf.uint8), [-1, *shape[1:]])
    return tf.cast(gather(tf.cast(share, tf.int32), axis=axis), tf.uint8)


def own_share(whole: tf.Tensor) -> tf.Tensor:
    """This replica's rows of what all replicas hold: the inverse of `gathered`.

    Args:
        whole: `[B, ...]`, the same on each replica; B a multiple of their number.

    Returns:
        `[B / replicas, ...]`.
    """
    replicas = num_replicas()
    if replicas == 1:
        return whole
    place = tf.distribute.get_replica_context().replica_id_in_sync_group
    size = tf.shape(whole)[0] // replicas
    return whole[place * size : (place + 1) * size]

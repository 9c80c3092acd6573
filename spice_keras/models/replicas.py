"""Steps on several replicas: what one of them needs of the others.

On one replica, which is the rule, every function gives back what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow.python.framework import ops


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


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
) -> None:
    """Let an optimizer take a step, and keep nothing of the step's graph.

    Before its step Keras sums the gradients of all replicas by a function with a gradient of its
    own, even if there is one replica. TensorFlow registers that gradient for good, and with it the
    whole graph of the training step: some megabytes for every model that a process trains. Nobody
    takes the gradient of an optimizer's step, so it is struck off again.

    Args:
        optimizer: Built for the variables.
        gradients: One for each variable.
        variables: What it updates.
    """
    # The registry has no public door; without these names nothing is struck off.
    known: dict[str, object] = getattr(ops.gradient_registry, "_registry", {})
    before = set(known)
    optimizer.apply(gradients, variables)
    for name in [name for name in known if name not in before]:
        if name.startswith("CustomGradient"):
            del known[name]

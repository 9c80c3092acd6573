"""The momentum (exponential moving) average that makes MoCo's key network and FixMatch's EMA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def momentum_average(
    average: tf.Tensor, value: tf.Tensor, momentum: float | tf.Tensor
) -> tf.Tensor:
    """One step of an exponential moving average.

    Args:
        average: The average so far, any shape.
        value: The new value, same shape.
        momentum: m in [0, 1]: 1 keeps the average, 0 takes the value, both exactly.

    Returns:
        m * average + (1 - m) * value in float32, same shape.

    Raises:
        ValueError: If a Python momentum lies outside [0, 1].

    MoCo (arXiv 1911.05722) Eq. 2.
    """
    if isinstance(momentum, float | int) and not 0 <= momentum <= 1:
        raise ValueError(f"`momentum` must lie in [0, 1]. Received: {momentum=}")
    # 1 - m is taken in float32 as m itself is, so that the two weights sum to one.
    momentum = tf.cast(momentum, tf.float32)
    average = tf.cast(tf.convert_to_tensor(average), tf.float32)
    value = tf.cast(tf.convert_to_tensor(value), tf.float32)
    return momentum * average + (1.0 - momentum) * value


def update_momentum_variables(
    averages: Sequence[Any], values: Sequence[Any], momentum: float | tf.Tensor
) -> None:
    """Move each averaged variable one step towards its counterpart, in place.

    Args:
        averages: Variables (Keras or TensorFlow) of the momentum network.
        values: Variables or tensors of the trained network, pair by pair of equal shape.
        momentum: m in [0, 1].

    Raises:
        ValueError: If the two sequences differ in length or a pair differs in shape.

    MoCo (arXiv 1911.05722) Eq. 2; FixMatch (arXiv 2001.07685) evaluates such an average.
    """
    if len(averages) != len(values):
        raise ValueError(
            "`averages` and `values` must pair up: were both networks built alike? "
            f"Received: len(averages)={len(averages)}, len(values)={len(values)}"
        )
    for average, value in zip(averages, values, strict=True):
        if tuple(average.shape) != tuple(value.shape):
            raise ValueError(
                "Each pair of `averages` and `values` must have one shape: do both networks "
                f"list their weights in one order? Received: {average.shape} and {value.shape}"
            )
        updated = momentum_average(average, value, momentum)
        average.assign(tf.cast(updated, average.dtype))

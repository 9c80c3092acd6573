"""Per-image random draws that are pure functions of a seed."""

from __future__ import annotations

import tensorflow as tf


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Derives independent seeds, one for each use of randomness.

    Args:
        seed: int32 [2].
        count: How many seeds to derive.

    Returns:
        `count` int32 tensors of shape [2].
    """
    return tf.unstack(tf.random.experimental.stateless_split(seed, count), num=count)


def uniform(seed: tf.Tensor, batch_size: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Draws one number for each image, uniform in [low, high).

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        low: Lower end of the range.
        high: Upper end of the range.

    Returns:
        float32 [B].
    """
    return tf.random.stateless_uniform([batch_size], seed, low, high, tf.float32)


def integers(seed: tf.Tensor, batch_size: tf.Tensor, low: int, high: int) -> tf.Tensor:
    """Draws one integer for each image, uniform in low..high, both ends included.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        low: Smallest value.
        high: Largest value.

    Returns:
        int32 [B].
    """
    return tf.random.stateless_uniform([batch_size], seed, low, high + 1, tf.int32)


def chance(seed: tf.Tensor, batch_size: tf.Tensor, probability: float) -> tf.Tensor:
    """Decides for each image whether something happens to it.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        probability: Chance of True, in [0, 1].

    Returns:
        bool [B].
    """
    return uniform(seed, batch_size, 0.0, 1.0) < probability

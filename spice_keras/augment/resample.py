"""Separable resampling: one matrix along the rows and one along the columns of each image."""

from __future__ import annotations

import tensorflow as tf


def resample(images: tf.Tensor, along_y: tf.Tensor, along_x: tf.Tensor) -> tf.Tensor:
    """Multiplies each image by its own matrices along both axes.

    Two batched matrix products: their time does not depend on what the matrices hold, and at
    the sizes met here they beat an interpolating kernel.

    Args:
        images: float32 [B, H, W, C].
        along_y: float32 [B, H', H], the weights of the input rows in each output row.
        along_x: float32 [B, W', W], the weights of the input columns in each output column.

    Returns:
        float32 [B, H', W', C].
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    new_height, new_width = tf.shape(along_y)[1], tf.shape(along_x)[1]
    columns = tf.matmul(along_y, tf.reshape(images, [batch, height, width * channels]))
    columns = tf.reshape(columns, [batch, new_height, width, channels])
    rows = tf.reshape(tf.transpose(columns, [0, 2, 1, 3]), [batch, width, new_height * channels])
    rows = tf.matmul(along_x, rows)
    rows = tf.reshape(rows, [batch, new_width, new_height, channels])
    return tf.transpose(rows, [0, 2, 1, 3])


def bilinear_weights(start: tf.Tensor, extent: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Returns the matrices that enlarge `extent` pixels from `start` on to the whole side.

    Args:
        start: float32 [B], first pixel of the cut.
        extent: float32 [B], pixels of the cut, at most `side`.
        side: Pixels of the axis, before and after, a scalar.

    Returns:
        float32 [B, side, side].
    """
    places = tf.range(tf.cast(side, tf.float32), dtype=tf.float32)
    start, extent = start[:, None], extent[:, None]
    # Pixel centres lie at .5; beyond the outermost centres of the cut its edge is repeated.
    source = start + (places[None] + 0.5) * extent / tf.cast(side, tf.float32) - 0.5
    source = tf.clip_by_value(source, start, start + extent - 1.0)
    return tf.nn.relu(1.0 - tf.abs(source[:, :, None] - places[None, None]))


def gaussian_weights(sigmas: tf.Tensor, side: tf.Tensor, radius: int) -> tf.Tensor:
    """Returns the matrices that blur an axis, its border pixels repeated outwards.

    Args:
        sigmas: float32 [B], standard deviations in pixels; 0 gives the identity.
        side: Pixels of the axis, a scalar.
        radius: How many pixels the kernel reaches to each side.

    Returns:
        float32 [B, side, side].
    """
    reach = tf.range(-radius, side + radius)
    distance = tf.cast(tf.range(side)[:, None] - reach[None], tf.float32)
    # A width of zero would divide by zero: at .01 pixel the kernel is exactly the identity.
    widths = tf.maximum(sigmas, 0.01)[:, None, None]
    weights = tf.exp(-0.5 * tf.square(distance / widths))
    weights = tf.where(tf.abs(distance) <= radius, weights, 0.0)
    weights /= tf.reduce_sum(weights, axis=2, keepdims=True)
    nearest = tf.one_hot(tf.clip_by_value(reach, 0, side - 1), side)
    return tf.tensordot(weights, nearest, axes=1)

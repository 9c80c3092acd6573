"""Resizing inside a graph: two matrix products, which every converter knows."""

from __future__ import annotations

import tensorflow as tf

from spice_keras.options import Fit


def resized(images: tf.Tensor, image_size: int, fit: Fit) -> tf.Tensor:
    """Resizes a batch to squares, bilinear and antialiased.

    Args:
        images: uint8 ``[B, H, W, 3]`` of any size.
        image_size: Side S of the result, in pixels.
        fit: ``crop`` keeps the aspect ratio and the central square, ``stretch`` neither.

    Returns:
        uint8 ``[B, S, S, 3]``, within a grey level of what training sees.
    """
    if fit == "crop":
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = images[:, top : top + side, left : left + side]
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    pixels = tf.cast(images, tf.float32)
    # Down first, one product for all columns and colours; then across, one for each new row.
    down = tf.matmul(_weights(height, image_size), tf.reshape(pixels, [batch, height, width * 3]))
    down = tf.reshape(down, [batch, image_size, width, 3])
    scaled = tf.matmul(_weights(width, image_size), down)
    levels = tf.cast(tf.clip_by_value(tf.round(scaled), 0.0, 255.0), tf.uint8)
    return tf.ensure_shape(levels, [None, image_size, image_size, 3])


def _weights(length: tf.Tensor, target: int) -> tf.Tensor:
    """How much each old pixel counts for each new one, float32 [target, length]; rows sum to 1."""
    scale = tf.cast(length, tf.float32) / target
    centers = (tf.range(target, dtype=tf.float32) + 0.5) * scale
    pixels = tf.range(length)
    away = tf.cast(pixels, tf.float32) + 0.5 - centers[:, tf.newaxis]
    triangle = tf.maximum(0.0, 1.0 - tf.abs(away) / tf.maximum(scale, 1.0))
    return triangle / tf.reduce_sum(triangle, axis=1, keepdims=True)

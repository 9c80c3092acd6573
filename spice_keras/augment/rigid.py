"""Rotate, shear and translate as Pillow does them: nearest pixel, black outside."""

from __future__ import annotations

import math

import tensorflow as tf

from spice_keras.augment.geometry import take_pixels

# Pillow walks through the input in fixed point with 16 binary digits after the point.
_FRACTION_BITS = 16


def move(
    images: tf.Tensor,
    *,
    angle: tf.Tensor,
    shear_x: tf.Tensor,
    shear_y: tf.Tensor,
    translate_x: tf.Tensor,
    translate_y: tf.Tensor,
) -> tf.Tensor:
    """Applies to each image the one movement that is not zero.

    Args:
        images: uint8 [B, H, W, C].
        angle: float32 [B], counter-clockwise about the centre, in degrees.
        shear_x: float32 [B], columns to the left per row, about the upper left corner.
        shear_y: float32 [B], rows upwards per column, about the upper left corner.
        translate_x: float32 [B], to the left, as a share of the width.
        translate_y: float32 [B], upwards, as a share of the height.

    Returns:
        uint8 [B, H, W, C].
    """
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float64))
    radians = tf.cast(angle, tf.float64) * (math.pi / 180.0)
    cos, sin = tf.cos(radians), tf.sin(radians)
    center_x, center_y = width / 2.0, height / 2.0
    c = tf.cast(translate_x, tf.float64) * width + center_x - cos * center_x + sin * center_y
    f = tf.cast(translate_y, tf.float64) * height + center_y - sin * center_x - cos * center_y
    columns = _walk(images, cos, tf.cast(shear_x, tf.float64) - sin, c)
    rows = _walk(images, tf.cast(shear_y, tf.float64) + sin, cos, f)
    return take_pixels(images, rows, columns)


def _walk(images: tf.Tensor, per_x: tf.Tensor, per_y: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Returns one input coordinate of every output pixel's centre: int32 [B, H, W]."""
    scale = 1 << _FRACTION_BITS

    def fixed(value: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.floor(value * scale + 0.5), tf.int32)[:, None, None]

    height, width = tf.unstack(tf.shape(images)[1:3])
    columns, rows = tf.range(width)[None, None], tf.range(height)[None, :, None]
    first = fixed(start + 0.5 * (per_x + per_y))
    place = first + columns * fixed(per_x) + rows * fixed(per_y)
    return tf.bitwise.right_shift(place, _FRACTION_BITS)

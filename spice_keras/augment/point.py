"""Operations that map each grey level on its own, as tables of 256 entries an image."""

from __future__ import annotations

import tensorflow as tf

LEVELS = 256


def look_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Replaces every level by its entry in the image's own table.

    Args:
        images: uint8 [B, H, W, 3].
        tables: [B, 1, 256] for all channels or [B, 3, 256] for each its own, any dtype.

    Returns:
        [B, H, W, 3], the dtype of `tables`.
    """
    per_image = tables.shape[1] * LEVELS
    offsets = tf.range(tf.shape(images)[0])[:, None, None, None] * per_image
    if tables.shape[1] == 3:
        offsets += tf.range(3) * LEVELS
    return tf.gather(tf.reshape(tables, [-1]), tf.cast(images, tf.int32) + offsets)


def solarize_table(thresholds: tf.Tensor) -> tf.Tensor:
    """Inverts every level from the threshold on: float32 [B] to int32 [B, 256]."""
    levels = tf.range(LEVELS)[None]
    below = tf.cast(levels, tf.float32) < thresholds[:, None]
    return tf.where(below, levels, LEVELS - 1 - levels)


def posterize_table(bits: tf.Tensor) -> tf.Tensor:
    """Keeps the highest `floor(bits)` bits: float32 [B] in [1, 9) to int32 [B, 256]."""
    dropped = 8 - tf.cast(bits, tf.int32)[:, None]
    levels = tf.range(LEVELS)[None]
    # Values of other operations pass through here too: a shift must stay within the word.
    dropped = tf.clip_by_value(dropped, 0, 8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(levels, dropped), dropped)


def brightness_table(factors: tf.Tensor) -> tf.Tensor:
    """Blends with black, cut to whole levels: float32 [B] in [0, 1] to int32 [B, 256]."""
    levels = tf.cast(tf.range(LEVELS), tf.float32)[None]
    return tf.cast(tf.clip_by_value(factors[:, None] * levels, 0.0, 255.0), tf.int32)

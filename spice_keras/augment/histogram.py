"""Operations that depend on an image's histogram: autocontrast and equalize."""

from __future__ import annotations

import tensorflow as tf

from spice_keras.augment.point import LEVELS


def histograms(images: tf.Tensor) -> tf.Tensor:
    """Counts the levels of each image's channels: uint8 [B, H, W, 3] to int32 [B, 3, 256]."""
    batch = tf.shape(images)[0]
    bands = tf.reshape(tf.range(batch * 3) * LEVELS, [batch, 1, 1, 3])
    places = tf.reshape(tf.cast(images, tf.int32) + bands, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(places), places, batch * 3 * LEVELS)
    return tf.reshape(counts, [batch, 3, LEVELS])


def autocontrast_table(counts: tf.Tensor) -> tf.Tensor:
    """Stretches each channel from its darkest and lightest level to 0 and 255.

    Args:
        counts: int32 [B, 3, 256].

    Returns:
        int32 [B, 3, 256]; the identity if a channel has one level only.
    """
    levels = tf.range(LEVELS)
    present = counts > 0
    low = tf.reduce_min(tf.where(present, levels, LEVELS - 1), axis=-1, keepdims=True)
    high = tf.reduce_max(tf.where(present, levels, 0), axis=-1, keepdims=True)
    # Pillow computes in double precision and cuts: the same two roundings, the same levels.
    scale = 255.0 / tf.cast(tf.maximum(high - low, 1), tf.float64)
    offset = -tf.cast(low, tf.float64) * scale
    stretched = tf.cast(tf.cast(levels, tf.float64) * scale + offset, tf.int32)
    return tf.where(high > low, tf.clip_by_value(stretched, 0, LEVELS - 1), levels)


def equalize_table(counts: tf.Tensor) -> tf.Tensor:
    """Flattens each channel's histogram.

    Args:
        counts: int32 [B, 3, 256].

    Returns:
        int32 [B, 3, 256]; the identity if a channel has too few levels or pixels.
    """
    levels = tf.range(LEVELS)
    last = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=-1)
    total = tf.reduce_sum(counts, axis=-1)
    last_count = tf.gather(counts, last, batch_dims=2)
    step = ((total - last_count) // (LEVELS - 1))[..., None]
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    flattened = (step // 2 + below) // tf.maximum(step, 1)
    return tf.where(step > 0, tf.minimum(flattened, LEVELS - 1), levels)

"""Pillow's enhancements: blends of an image with a degenerate version of itself."""

from __future__ import annotations

import tensorflow as tf

# ITU-R 601-2 in fixed point with 16 binary digits, as Pillow has it. All sums stay below
# 2 ** 24 and are therefore exact in float32.
_GRAY_WEIGHTS = (19595.0, 38470.0, 7471.0)
_GRAY_SCALE = 65536.0


def gray_levels(images: tf.Tensor) -> tf.Tensor:
    """Returns Pillow's mode "L": uint8 [B, H, W, 3] to whole float32 [B, H, W, 1]."""
    weights = tf.constant(_GRAY_WEIGHTS)[:, None]
    scaled = tf.tensordot(tf.cast(images, tf.float32), weights, axes=1)
    return tf.floor((scaled + _GRAY_SCALE / 2.0) / _GRAY_SCALE)


def mean_gray(gray: tf.Tensor) -> tf.Tensor:
    """Returns each image's mean grey, rounded: float32 [B, H, W, 1] to [B, 1, 1, 1]."""
    # Sums of large images exceed what float32 holds exactly.
    mean = tf.reduce_mean(tf.cast(gray, tf.float64), axis=[1, 2, 3], keepdims=True)
    return tf.cast(tf.floor(mean + 0.5), tf.float32)


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Applies Pillow's SMOOTH: a 3 x 3 mean whose centre counts five times, border kept.

    Args:
        images: uint8 [B, H, W, 3].

    Returns:
        Whole float32 [B, H, W, 3].
    """
    levels = tf.cast(images, tf.float32)
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    window = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = tf.floor((window + 4.0 * levels[:, 1:-1, 1:-1]) / 13.0 + 0.5)
    inner = tf.concat([levels[:, 1:-1, :1], inner, levels[:, 1:-1, -1:]], axis=2)
    return tf.concat([levels[:, :1], inner, levels[:, -1:]], axis=1)


def blend(degenerate: tf.Tensor, images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Moves from the degenerate version (factor 0) to the image (factor 1).

    Args:
        degenerate: Whole float32, broadcasting to [B, H, W, 3].
        images: uint8 [B, H, W, 3].
        factors: float32 [B] in [0, 1].

    Returns:
        uint8 [B, H, W, 3], cut to whole levels as Pillow does.
    """
    difference = tf.cast(images, tf.float32) - degenerate
    return tf.cast(degenerate + factors[:, None, None, None] * difference, tf.uint8)

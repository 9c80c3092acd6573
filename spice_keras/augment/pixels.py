"""The form in which policies take and return a batch of images."""

from __future__ import annotations

import tensorflow as tf


def batch_sizes(images: tf.Tensor) -> tuple[tf.Tensor, int, int]:
    """Returns the batch size (a scalar tensor), the height and the width.

    Args:
        images: [B, H, W, 3].

    Raises:
        ValueError: If the height or the width is not known before the batch is there.
    """
    shape = images.shape
    if shape.rank != 4 or shape[1] is None or shape[2] is None or shape[3] != 3:
        raise ValueError(
            "`images` must be [B, H, W, 3] with a known height and width; resize them to one "
            f"size first. Received: images.shape={shape}"
        )
    return tf.shape(images)[0], shape[1], shape[2]


def to_pixels(images: tf.Tensor) -> tf.Tensor:
    """Rounds and clips float images to uint8."""
    return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)

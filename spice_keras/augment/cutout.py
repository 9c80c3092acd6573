"""Cutout: one square hole in each image."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from spice_keras.augment.draws import integers, split_seed

# The ImageNet mean colour: zero once the network has normalised its input.
MEAN_COLOR = (124, 116, 104)


class Hole(NamedTuple):
    """Cutout's draw for each image; every field is int32 [B], in pixels.

    Attributes:
        center_y: Row of the centre.
        center_x: Column of the centre.
        side: Side of the square before it is clipped at the border.
    """

    center_y: tf.Tensor
    center_x: tf.Tensor
    side: tf.Tensor


def sample_cutout(
    seed: tf.Tensor, batch_size: tf.Tensor, height: int, width: int, *, max_side: int
) -> Hole:
    """Draws the hole of each image: any centre, any side in 1..max_side.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        max_side: Largest side, in pixels, at least 1.

    Returns:
        The draw of each image.
    """
    y_seed, x_seed, side_seed = split_seed(seed, 3)
    return Hole(
        center_y=integers(y_seed, batch_size, 0, height - 1),
        center_x=integers(x_seed, batch_size, 0, width - 1),
        side=integers(side_seed, batch_size, 1, max_side),
    )


def cutout(
    images: tf.Tensor, holes: Hole, *, color: tuple[int, int, int] = MEAN_COLOR
) -> tf.Tensor:
    """Fills rows and columns `[c - L // 2, c + L // 2)` of each image with one colour.

    Args:
        images: uint8 [B, H, W, 3].
        holes: The draw of each image.
        color: Red, green and blue of the hole.

    Returns:
        uint8 [B, H, W, 3].
    """
    half = holes.side // 2
    rows = _within(tf.shape(images)[1], holes.center_y, half)
    columns = _within(tf.shape(images)[2], holes.center_x, half)
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return tf.where(inside, tf.constant(color, images.dtype), images)


def _within(length: tf.Tensor, centers: tf.Tensor, half: tf.Tensor) -> tf.Tensor:
    """Marks the places of an axis that a hole covers: bool [B, length]."""
    places = tf.range(length)[None]
    return (places >= (centers - half)[:, None]) & (places < (centers + half)[:, None])

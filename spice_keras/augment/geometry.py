"""Mirror, whole-pixel shift and a small affine map of each image."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from spice_keras.augment.draws import chance, integers, split_seed, uniform
from spice_keras.options import Fill

_FILL_MODES = {"black": "CONSTANT", "reflect": "REFLECT"}


class Affine(NamedTuple):
    """Affine draw for each image; every field is float32 [B].

    Attributes:
        angle: Counter-clockwise rotation, in radians.
        scale: Magnification; 1 leaves the size.
        shift_x: Shift to the right, as a share of the width.
        shift_y: Shift downwards, as a share of the height.
        shear: Shear of the rows about the centre, in columns to the left per row downwards.
    """

    angle: tf.Tensor
    scale: tf.Tensor
    shift_x: tf.Tensor
    shift_y: tf.Tensor
    shear: tf.Tensor


def sample_flip(seed: tf.Tensor, batch_size: tf.Tensor, probability: float = 0.5) -> tf.Tensor:
    """Draws which images are mirrored: bool [B] from an int32 [2] seed."""
    return chance(seed, batch_size, probability)


def flip(images: tf.Tensor, flipped: tf.Tensor) -> tf.Tensor:
    """Mirrors the marked images left to right.

    Args:
        images: [B, H, W, C], any dtype.
        flipped: bool [B].

    Returns:
        [B, H, W, C], the dtype of `images`.
    """
    columns = tf.range(tf.shape(images)[2])[None]
    order = tf.where(flipped[:, None], tf.reverse(columns, [1]), columns)
    return tf.gather(images, order, axis=2, batch_dims=1)


def sample_shift(seed: tf.Tensor, batch_size: tf.Tensor, max_y: int, max_x: int) -> tf.Tensor:
    """Draws a whole-pixel shift for each image.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        max_y: Largest shift up or down, in pixels.
        max_x: Largest shift left or right, in pixels.

    Returns:
        int32 [B, 2]: pixels down, pixels to the right.
    """
    seed_y, seed_x = split_seed(seed, 2)
    down = integers(seed_y, batch_size, -max_y, max_y)
    right = integers(seed_x, batch_size, -max_x, max_x)
    return tf.stack([down, right], axis=1)


def shift(images: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """Moves each image by whole pixels over black: a random crop of the zero-padded image.

    Args:
        images: uint8 [B, H, W, C].
        offsets: int32 [B, 2]: pixels down, pixels to the right.

    Returns:
        uint8 [B, H, W, C].
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    down, right = tf.unstack(offsets[:, :, None, None], axis=1)
    return take_pixels(
        images, tf.range(height)[None, :, None] - down, tf.range(width)[None, None] - right
    )


def take_pixels(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Takes for each output pixel one input pixel, or black if it lies outside the image.

    Args:
        images: [B, H, W, C], any dtype.
        rows: int32, broadcasting to [B, H, W].
        columns: int32, broadcasting to [B, H, W].

    Returns:
        [B, H, W, C], the dtype of `images`.
    """
    shape = tf.shape(images)
    batch, height, width = shape[0], shape[1], shape[2]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    first = tf.range(batch)[:, None, None] * height
    place = tf.where(inside, (first + rows) * width + columns + 1, 0)
    pixels = tf.reshape(images, [-1, shape[3]])
    black = tf.zeros([1, shape[3]], images.dtype)
    return tf.gather(tf.concat([black, pixels], axis=0), place)


def sample_affine(
    seed: tf.Tensor,
    batch_size: tf.Tensor,
    *,
    rotate: float,
    zoom: float,
    shift: float,
    shear: float,
) -> Affine:
    """Draws a small affine map for each image, each part uniform and symmetric.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        rotate: Largest angle, in degrees.
        zoom: Largest relative change of size.
        shift: Largest shift, as a share of the side.
        shear: Largest shear, in pixels per pixel.

    Returns:
        The draw of each image.
    """
    angle = math.radians(rotate)
    bounds = ((0.0, angle), (1.0, zoom), (0.0, shift), (0.0, shift), (0.0, shear))
    seeds = split_seed(seed, len(bounds))
    draws = [
        uniform(part, batch_size, middle - reach, middle + reach)
        for part, (middle, reach) in zip(seeds, bounds, strict=True)
    ]
    return Affine(*draws)


def affine(images: tf.Tensor, parameters: Affine, *, fill: Fill = "black") -> tf.Tensor:
    """Shears, rotates, scales and shifts about the centre in one bilinear resampling.

    Args:
        images: [B, H, W, C], uint8 or float32.
        parameters: The draw of each image.
        fill: What lies outside the image: black or its mirror image.

    Returns:
        float32 [B, H, W, C].
    """
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    cos = tf.cos(parameters.angle) / parameters.scale
    sin = tf.sin(parameters.angle) / parameters.scale
    # From output to input: back through the rotation and the scale, then through the shear.
    a, b = cos + parameters.shear * sin, -sin + parameters.shear * cos
    d, e = sin, cos
    center_x, center_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    from_x = center_x + parameters.shift_x * width
    from_y = center_y + parameters.shift_y * height
    c = center_x - a * from_x - b * from_y
    f = center_y - d * from_x - e * from_y
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([a, b, c, d, e, f, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=_FILL_MODES[fill],
    )

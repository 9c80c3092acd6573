"""RandomResizedCrop: a random box of each image, enlarged to the image's size."""

from __future__ import annotations

import math

import tensorflow as tf

from spice_keras.augment.draws import split_seed
from spice_keras.augment.resample import bilinear_weights, resample

ATTEMPTS = 10
ASPECT_RATIOS = (3.0 / 4.0, 4.0 / 3.0)


def sample_resized_crop(
    seed: tf.Tensor,
    batch_size: tf.Tensor,
    height: int,
    width: int,
    *,
    min_scale: float,
    max_scale: float,
) -> tf.Tensor:
    """Draws RandomResizedCrop's box for each image.

    The share of the area is uniform, the aspect ratio log-uniform in 3/4..4/3; the first of ten
    attempts that fits is taken, else the centred square.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        min_scale: Smallest share of the area.
        max_scale: Largest share of the area.

    Returns:
        float32 [B, 4], whole numbers: top, left, height, width in pixels.
    """
    area_seed, ratio_seed, place_seed = split_seed(seed, 3)
    attempts = [batch_size, ATTEMPTS]
    share = tf.random.stateless_uniform(attempts, area_seed, min_scale, max_scale)
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    root = tf.exp(0.5 * tf.random.stateless_uniform(attempts, ratio_seed, low, high))
    side = tf.sqrt(share * float(height * width))
    sizes = tf.round(tf.stack([side / root, side * root], axis=-1))
    limits = tf.constant([height, width], tf.float32)
    fits = tf.reduce_all((sizes >= 1.0) & (sizes <= limits), axis=-1)
    first = tf.gather(sizes, tf.argmax(tf.cast(fits, tf.int32), axis=1), batch_dims=1)
    found = tf.reduce_any(fits, axis=1)[:, None]
    size = tf.where(found, first, float(min(height, width)))
    room = limits - size
    place = tf.random.stateless_uniform([batch_size, 2], place_seed)
    corner = tf.where(found, tf.floor(place * (room + 1.0)), tf.floor(room / 2.0))
    return tf.concat([corner, size], axis=1)


def resized_crop(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Cuts each image's box out and resizes it bilinearly to the image's own size.

    A box never exceeds the image, so it is only ever enlarged and antialiasing has no effect.

    Args:
        images: [B, H, W, C], uint8 or float32.
        boxes: float32 [B, 4]: top, left, height, width in pixels.

    Returns:
        float32 [B, H, W, C], not rounded.
    """
    top, left, box_height, box_width = tf.unstack(boxes, axis=1)
    height, width = tf.unstack(tf.shape(images)[1:3])
    along_y = bilinear_weights(top, box_height, height)
    along_x = bilinear_weights(left, box_width, width)
    return resample(tf.cast(images, tf.float32), along_y, along_x)

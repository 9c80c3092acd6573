"""Gaussian blur with a width of its own for each image."""

from __future__ import annotations

import math

import tensorflow as tf

from spice_keras.augment.draws import chance, split_seed, uniform
from spice_keras.augment.resample import gaussian_weights, resample

RADIUS_IN_SIGMAS = 3.0


def sample_blur(
    seed: tf.Tensor,
    batch_size: tf.Tensor,
    *,
    min_sigma: float,
    max_sigma: float,
    probability: float = 1.0,
) -> tf.Tensor:
    """Draws the standard deviation of each image's blur.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        min_sigma: Smallest standard deviation, in pixels.
        max_sigma: Largest standard deviation, in pixels.
        probability: Share of the images that are blurred.

    Returns:
        float32 [B], in pixels; 0 leaves the image as it is.
    """
    sigma_seed, chance_seed = split_seed(seed, 2)
    sigmas = uniform(sigma_seed, batch_size, min_sigma, max_sigma)
    return tf.where(chance(chance_seed, batch_size, probability), sigmas, 0.0)


def gaussian_blur(images: tf.Tensor, sigmas: tf.Tensor, *, max_sigma: float) -> tf.Tensor:
    """Blurs each image with its own Gaussian, its border pixels repeated outwards.

    Args:
        images: float32 [B, H, W, C].
        sigmas: float32 [B], standard deviations in pixels; 0 leaves the image as it is.
        max_sigma: Upper bound of `sigmas`; every kernel reaches three times as far.

    Returns:
        float32 [B, H, W, C].
    """
    radius = math.ceil(RADIUS_IN_SIGMAS * max_sigma)
    height, width = tf.unstack(tf.shape(images)[1:3])
    along_y = gaussian_weights(sigmas, height, radius)
    along_x = gaussian_weights(sigmas, width, radius)
    return resample(images, along_y, along_x)

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from spice_keras.augment.blur import gaussian_blur, sample_blur


def test_equals_a_gaussian_filter_of_each_images_own_width() -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 12, 3)).astype(np.float32)
    sigmas = [0.5, 1.1, 2.0]
    found = gaussian_blur(tf.constant(images), tf.constant(sigmas), max_sigma=2.0)
    for image, sigma, blurred in zip(images, sigmas, found, strict=True):
        expected = gaussian_filter1d(image, sigma, axis=0, mode="nearest", radius=6)
        expected = gaussian_filter1d(expected, sigma, axis=1, mode="nearest", radius=6)
        np.testing.assert_allclose(blurred, expected, atol=1e-2)


def test_width_zero_keeps_the_image() -> None:
    images = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2], 0, 255)
    found = gaussian_blur(images, tf.constant([0.0, 1.0]), max_sigma=2.0)
    np.testing.assert_allclose(found[0], images[0], atol=1e-4)
    assert np.abs(found[1] - images[1]).max() > 10


def test_share_and_range_of_the_widths() -> None:
    drawn = sample_blur(
        tf.constant([1, 2]), tf.constant(5000), min_sigma=0.1, max_sigma=2.0, probability=0.5
    ).numpy()
    widths = drawn[drawn > 0]
    assert abs(len(widths) / 5000 - 0.5) < 0.03
    np.testing.assert_allclose(np.quantile(widths, [0, 0.5, 1]), [0.1, 1.05, 2.0], atol=0.06)

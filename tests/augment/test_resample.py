from __future__ import annotations

import numpy as np
import tensorflow as tf

from spice_keras.augment.resample import bilinear_weights, gaussian_weights, resample


def test_each_axis_is_multiplied_by_its_own_matrix() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    along_y = rng.normal(size=(3, 6, 4)).astype(np.float32)
    along_x = rng.normal(size=(3, 7, 5)).astype(np.float32)
    expected = np.einsum("bvh,bwx,bhxc->bvwc", along_y, along_x, images)
    found = resample(tf.constant(images), along_y, along_x)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_whole_axis_is_the_identity() -> None:
    weights = bilinear_weights(tf.constant([0.0]), tf.constant([6.0]), tf.constant(6))
    np.testing.assert_allclose(weights[0], np.eye(6), atol=1e-6)


def test_a_single_pixel_fills_the_axis() -> None:
    weights = bilinear_weights(tf.constant([4.0]), tf.constant([1.0]), tf.constant(6)).numpy()
    assert np.all(weights[0, :, 4] == 1.0)
    assert weights.sum() == 6.0


def test_gaussian_weights_against_the_formula() -> None:
    sigma, side, radius = 1.3, 7, 4
    expected = np.zeros((side, side))
    kernel = [np.exp(-0.5 * (step / sigma) ** 2) for step in range(-radius, radius + 1)]
    for place in range(side):
        for step in range(-radius, radius + 1):
            nearest = min(max(place + step, 0), side - 1)
            expected[place, nearest] += kernel[step + radius] / sum(kernel)
    found = gaussian_weights(tf.constant([sigma, 0.0]), tf.constant(side), radius)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found[1], np.eye(side))

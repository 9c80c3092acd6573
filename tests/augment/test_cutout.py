from __future__ import annotations

import numpy as np
import tensorflow as tf

from spice_keras.augment.cutout import MEAN_COLOR, Hole, cutout, sample_cutout


def _hole(center_y: int, center_x: int, side: int) -> Hole:
    return Hole(tf.constant([center_y]), tf.constant([center_x]), tf.constant([side]))


def test_the_hole_is_the_square_about_its_centre_clipped_at_the_border() -> None:
    image = np.zeros((1, 10, 12, 3), np.uint8)
    for center_y, center_x, side in ((5, 6, 4), (0, 0, 6), (9, 11, 5), (3, 3, 1), (4, 5, 40)):
        expected = image[0].copy()
        half = side // 2
        top, left = max(center_y - half, 0), max(center_x - half, 0)
        expected[top : center_y + half, left : center_x + half] = MEAN_COLOR
        found = cutout(image, _hole(center_y, center_x, side)).numpy()
        np.testing.assert_array_equal(found[0], expected)


def test_the_colour_is_zero_after_imagenet_normalisation() -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert np.abs((np.array(MEAN_COLOR) / 255 - mean) / std).max() < 0.01


def test_another_colour_can_be_chosen() -> None:
    found = cutout(np.zeros((1, 6, 6, 3), np.uint8), _hole(3, 3, 2), color=(9, 8, 7)).numpy()
    np.testing.assert_array_equal(found[0, 2:4, 2:4], np.full((2, 2, 3), [9, 8, 7]))
    assert np.count_nonzero(found) == 12


def test_draws_reach_every_centre_and_side() -> None:
    holes = sample_cutout(tf.constant([1, 2]), tf.constant(5000), 6, 9, max_side=4)
    for drawn, values in zip(holes, (range(6), range(9), range(1, 5)), strict=True):
        found, counts = np.unique(drawn.numpy(), return_counts=True)
        np.testing.assert_array_equal(found, list(values))
        np.testing.assert_allclose(counts / 5000, 1 / len(values), atol=0.03)

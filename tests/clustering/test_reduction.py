"""Reduced images: each pixel the mean of the area it covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.clustering.reduction import grey_thumbnails, reduced_images
from tests.reference import unusual as reference


@given(seed=st.integers(0, 999), side=st.integers(1, 5), times=st.integers(1, 4))
def test_a_pixel_is_the_mean_of_a_square(seed: int, side: int, times: int) -> None:
    shape = (3, side, times, side, times, 3)
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    expected = images.mean(axis=(2, 4))
    found = reduced_images(images.reshape(3, side * times, side * times, 3), side)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 1.0


def test_smaller_images_stay_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(reduced_images(images, 16), images)
    np.testing.assert_array_equal(reduced_images(images, 8, np.array([3, 1])), images[[3, 1]])


def test_only_the_rows_wanted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), np.uint8)
    rows = np.array([4, 0])
    np.testing.assert_array_equal(reduced_images(images, 5, rows), reduced_images(images, 5)[rows])


def test_grey_is_the_brightness_of_the_reduced_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), np.uint8)
    expected = [reference.thumbnail(image, 4) for image in images]
    np.testing.assert_allclose(grey_thumbnails(images, 4), expected, atol=1.5)


def test_what_is_no_square_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images.shape=\(2, 4, 5, 3\)"):
        reduced_images(np.zeros((2, 4, 5, 3), np.uint8), 2)
    with pytest.raises(ValueError, match="Received: side=0"):
        reduced_images(np.zeros((2, 4, 4, 3), np.uint8), 0)

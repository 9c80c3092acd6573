from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spice_keras.augment.geometry import (
    Affine,
    affine,
    flip,
    sample_affine,
    sample_flip,
    sample_shift,
    shift,
)

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 9, 12, 3), np.uint8)


def test_flip_mirrors_the_marked_images_only() -> None:
    found = flip(tf.constant(IMAGES), tf.constant([True, False, True, False])).numpy()
    np.testing.assert_array_equal(found[[0, 2]], IMAGES[[0, 2], :, ::-1])
    np.testing.assert_array_equal(found[[1, 3]], IMAGES[[1, 3]])


def test_half_of_the_images_are_mirrored() -> None:
    assert abs(np.mean(sample_flip(tf.constant([2, 2]), tf.constant(4000))) - 0.5) < 0.03


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(-12, 12), st.integers(-14, 14)), min_size=4, max_size=4))
def test_shift_is_a_crop_of_the_zero_padded_image(offsets: list[tuple[int, int]]) -> None:
    padded = np.pad(IMAGES, [(0, 0), (14, 14), (14, 14), (0, 0)])
    found = shift(tf.constant(IMAGES), tf.constant(offsets)).numpy()
    for image, moved, (down, right) in zip(padded, found, offsets, strict=True):
        expected = image[14 - down : 23 - down, 14 - right : 26 - right]
        np.testing.assert_array_equal(moved, expected)


def test_shifts_reach_both_ends_on_both_axes() -> None:
    drawn = sample_shift(tf.constant([2, 3]), tf.constant(3000), 2, 4).numpy()
    assert set(drawn[:, 0]) == set(range(-2, 3))
    assert set(drawn[:, 1]) == set(range(-4, 5))
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.06


def _affine_of_one(**changes: float) -> Affine:
    neutral = {"angle": 0.0, "scale": 1.0, "shift_x": 0.0, "shift_y": 0.0, "shear": 0.0}
    return Affine(**{name: tf.constant([value]) for name, value in (neutral | changes).items()})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, IMAGES[0]),
        ({"angle": math.pi}, IMAGES[0, ::-1, ::-1]),
        ({"shift_x": 0.25}, np.pad(IMAGES[0], [(0, 0), (3, 0), (0, 0)])[:, :12]),
        ({"shift_y": 1 / 3}, np.pad(IMAGES[0], [(3, 0), (0, 0), (0, 0)])[:9]),
    ],
)
def test_affine_of_whole_pixels(changes: dict[str, float], expected: np.ndarray) -> None:
    found = affine(IMAGES[:1], _affine_of_one(**changes), fill="black").numpy()
    np.testing.assert_allclose(found[0], expected, atol=0.02)


def test_affine_rotates_as_pillow_does() -> None:
    y, x = np.mgrid[:32, :32]
    smooth = np.stack([x * 7, y * 7, (x + y) * 3], axis=-1).astype(np.uint8)
    found = affine(smooth[None], _affine_of_one(angle=math.radians(25.0))).numpy()[0]
    expected = np.asarray(Image.fromarray(smooth).rotate(25.0, Image.Resampling.BILINEAR))
    inner = slice(9, 23)
    assert np.abs(found[inner, inner] - expected[inner, inner].astype(float)).max() < 1.5


def test_scale_magnifies_and_shear_leans_rows() -> None:
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 12:21, 12:21] = 200
    larger = affine(image, _affine_of_one(scale=2.0)).numpy()
    assert 3.5 < larger.sum() / image.sum() < 4.5
    leaning = affine(image, _affine_of_one(shear=0.5)).numpy()[0, ..., 0]
    columns = np.arange(33)
    middles = [(leaning[row] * columns).sum() / leaning[row].sum() for row in (13, 16, 19)]
    np.testing.assert_allclose(middles, [17.5, 16.0, 14.5], atol=0.1)


def test_reflection_leaves_no_black_border() -> None:
    white = np.full((1, 16, 16, 3), 255, np.uint8)
    draw = _affine_of_one(angle=0.4, shift_x=0.2, scale=0.8)
    assert affine(white, draw, fill="reflect").numpy().min() > 254
    assert affine(white, draw, fill="black").numpy().min() == 0


def test_affine_draws_fill_their_ranges() -> None:
    draws = sample_affine(
        tf.constant([8, 2]), tf.constant(3000), rotate=90.0, zoom=0.2, shift=0.1, shear=0.3
    )
    ranges = [(-math.pi / 2, math.pi / 2), (0.8, 1.2), (-0.1, 0.1), (-0.1, 0.1), (-0.3, 0.3)]
    for drawn, (low, high) in zip(draws, ranges, strict=True):
        shares = (drawn.numpy() - low) / (high - low)
        np.testing.assert_allclose(np.quantile(shares, [0, 0.5, 1]), [0, 0.5, 1], atol=0.05)

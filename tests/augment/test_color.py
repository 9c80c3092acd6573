from __future__ import annotations

import colorsys
import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from spice_keras.augment.color import (
    ColorJitter,
    color_jitter,
    grayscale,
    sample_color_jitter,
    sample_grayscale,
    sample_tone,
    shift_hue,
    tone,
)

IMAGES = np.random.default_rng(5).integers(0, 256, (4, 10, 8, 3), np.uint8)
FLOATS = tf.cast(IMAGES, tf.float32)
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def _jitter(factors: list[float], order: list[int], hue: float, place: int) -> ColorJitter:
    return ColorJitter(
        factors=tf.constant([factors]),
        order=tf.constant([order]),
        hue=tf.constant([hue]),
        hue_place=tf.constant([place]),
    )


def _turned_with_colorsys(image: np.ndarray, turn: float) -> np.ndarray:
    result = np.empty(image.shape)
    for place in np.ndindex(*image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[place] / 255.0))
        result[place] = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    return 255.0 * result


@settings(max_examples=15)
@given(
    st.sampled_from(list(itertools.permutations(range(3)))),
    st.lists(st.floats(0.625, 1.375, width=32), min_size=3, max_size=3),
)
def test_factors_follow_pillow_in_the_drawn_order(
    order: tuple[int, ...], factors: list[float]
) -> None:
    image = Image.fromarray(IMAGES[0])
    for operation in order:
        image = ENHANCERS[operation](image).enhance(factors[operation])
    found = color_jitter(FLOATS[:1], _jitter(factors, list(order), 0.0, 0)).numpy()[0]
    # Pillow cuts to whole levels three times, and later factors enlarge what it cut.
    assert np.abs(found - np.asarray(image, float)).max() < 5
    assert np.abs(found - np.asarray(image, float)).mean() < 2


def test_hue_turns_as_the_textbook_says() -> None:
    turns = [-0.1, 0.0, 0.07, 0.5]
    found = shift_hue(FLOATS, tf.constant(turns)).numpy()
    for image, turn, turned in zip(IMAGES, turns, found, strict=True):
        np.testing.assert_allclose(turned, _turned_with_colorsys(image, turn), atol=0.02)


def test_hue_takes_its_place_among_the_factors() -> None:
    factors, order, turn = [1.3, 0.7, 1.4], [2, 0, 1], 0.08
    images = FLOATS[:1]
    for place in range(4):
        expected = images
        for step in range(4):
            if step == place:
                expected = shift_hue(expected, tf.constant([turn]))
            if step < 3:
                only = [factors[k] if k == order[step] else 1.0 for k in range(3)]
                expected = color_jitter(expected, _jitter(only, order, 0.0, 0))
        found = color_jitter(images, _jitter(factors, order, turn, place))
        np.testing.assert_allclose(found, expected, atol=0.01)


def test_neutral_draws_change_nothing() -> None:
    neutral = sample_color_jitter(
        tf.constant([1, 2]),
        tf.constant(4),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        probability=0.0,
    )
    np.testing.assert_allclose(color_jitter(FLOATS, neutral), FLOATS, atol=1e-3)


def test_jitter_draws_have_the_stated_shares_ranges_and_orders() -> None:
    draws = sample_color_jitter(
        tf.constant([1, 2]),
        tf.constant(6000),
        brightness=0.4,
        contrast=0.3,
        saturation=0.2,
        hue=0.1,
        probability=0.8,
    )
    factors, hue = draws.factors.numpy(), draws.hue.numpy()
    assert abs(np.mean(hue != 0) - 0.8) < 0.02
    np.testing.assert_array_equal(hue == 0, np.all(factors == 1, axis=1))
    np.testing.assert_allclose(factors.min(axis=0), [0.6, 0.7, 0.8], atol=0.01)
    np.testing.assert_allclose(factors.max(axis=0), [1.4, 1.3, 1.2], atol=0.01)
    np.testing.assert_allclose([hue.min(), hue.max()], [-0.1, 0.1], atol=0.01)
    places = np.concatenate([draws.order.numpy(), draws.hue_place.numpy()[:, None]], axis=1)
    _, counts = np.unique(places, axis=0, return_counts=True)
    np.testing.assert_allclose(counts / 6000, np.full(24, 1 / 24), atol=0.01)


def test_grayscale_is_itu_601_on_the_marked_images() -> None:
    found = grayscale(FLOATS, tf.constant([True, False, False, True])).numpy()
    np.testing.assert_allclose(found[1:3], FLOATS[1:3], atol=1e-4)
    for index in (0, 3):
        gray = np.asarray(Image.fromarray(IMAGES[index]).convert("L"), float)
        assert np.abs(found[index] - gray[..., None]).max() < 0.51
    assert abs(np.mean(sample_grayscale(tf.constant([1, 4]), tf.constant(4000), 0.2)) - 0.2) < 0.02


def test_tone_is_a_gain_times_a_power() -> None:
    parameters = tf.constant([[1.0, 1.0], [0.7, 1.0], [1.0, 1.4], [1.4, 0.8]])
    found = tone(tf.constant(IMAGES), parameters).numpy()
    np.testing.assert_allclose(found[0], IMAGES[0], atol=1e-3)
    for image, (gain, exponent), toned in zip(IMAGES, parameters.numpy(), found, strict=True):
        expected = np.minimum(gain * (image / 255.0) ** exponent, 1.0) * 255.0
        np.testing.assert_allclose(toned, expected, atol=1e-2)


def test_tone_keeps_grey_grey() -> None:
    gray = np.repeat(IMAGES[..., :1], 3, axis=-1)
    found = tone(tf.constant(gray), tf.constant([[0.8, 1.2]] * 4)).numpy()
    assert np.ptp(found, axis=-1).max() == 0


def test_tone_draws_fill_their_ranges() -> None:
    drawn = sample_tone(tf.constant([1, 9]), tf.constant(4000), brightness=0.4, gamma=0.3).numpy()
    quantiles = np.quantile(drawn, [0, 0.5, 1], axis=0)
    np.testing.assert_allclose(quantiles[:, 0], [0.6, 1.0, 1.4], atol=0.03)
    np.testing.assert_allclose(np.log(quantiles[:, 1]), [-0.3, 0.0, 0.3], atol=0.03)

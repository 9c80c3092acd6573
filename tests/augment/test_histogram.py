from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from spice_keras.augment.histogram import autocontrast_table, equalize_table, histograms
from spice_keras.augment.point import look_up


def test_histograms_count_every_channel_of_every_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 7, 5, 3), np.uint8)
    counts = histograms(tf.constant(images)).numpy()
    for image, channel in np.ndindex(3, 3):
        expected = np.bincount(images[image, ..., channel].ravel(), minlength=256)
        np.testing.assert_array_equal(counts[image, channel], expected)


@settings(max_examples=25)
@given(st.data())
def test_tables_equal_pillow_on_few_levels(data: st.DataObject) -> None:
    levels = data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=6))
    side = data.draw(st.sampled_from([4, 16, 24]))
    seed = data.draw(st.integers(0, 99))
    chosen = np.random.default_rng(seed).choice(levels, (side, side, 3)).astype(np.uint8)
    counts = histograms(chosen[None])
    for table, operation in (
        (autocontrast_table(counts), ImageOps.autocontrast),
        (equalize_table(counts), ImageOps.equalize),
    ):
        found = look_up(chosen[None], table)[0]
        np.testing.assert_array_equal(found, np.asarray(operation(Image.fromarray(chosen))))


def test_an_empty_batch_stays_empty() -> None:
    nothing = tf.zeros([0, 6, 6, 3], tf.uint8)
    assert look_up(nothing, equalize_table(histograms(nothing))).shape == (0, 6, 6, 3)

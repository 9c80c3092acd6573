from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spice_keras.augment.crop import resized_crop, sample_resized_crop


@settings(max_examples=15)
@given(st.data())
def test_equals_pillows_crop_and_bilinear_resize(data: st.DataObject) -> None:
    height, width = 20, 28
    box_height = data.draw(st.integers(1, height))
    box_width = data.draw(st.integers(1, width))
    top = data.draw(st.integers(0, height - box_height))
    left = data.draw(st.integers(0, width - box_width))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    found = resized_crop(image[None], tf.constant([[top, left, box_height, box_width]], tf.float32))
    cut = Image.fromarray(image).crop((left, top, left + box_width, top + box_height))
    expected = np.asarray(cut.resize((width, height), Image.Resampling.BILINEAR))
    # Pillow rounds to whole levels between the two axes.
    assert np.abs(found[0] - expected.astype(float)).max() <= 1.01


def _boxes(height: int, width: int, low: float, high: float) -> np.ndarray:
    return sample_resized_crop(
        tf.constant([7, 1]), tf.constant(4000), height, width, min_scale=low, max_scale=high
    ).numpy()


def test_boxes_lie_inside_with_the_stated_areas_and_ratios() -> None:
    top, left, height, width = _boxes(64, 64, 0.2, 1.0).T
    assert min(top.min(), left.min()) == 0
    assert max((top + height).max(), (left + width).max()) == 64
    share = height * width / 64**2
    assert 0.18 < share.min() < 0.22
    # Wide and tall boxes of nearly the whole area do not fit: the mean lies below .6.
    assert 0.52 < share.mean() < 0.6
    ratio = np.log(width / height)
    assert np.log(0.72) < ratio.min() < np.log(0.78)
    assert abs(ratio.mean()) < 0.02


def test_every_place_is_taken() -> None:
    top, left, height, width = _boxes(8, 8, 0.2, 0.3).T
    small = (height == 4) & (width == 4)
    for place in (top[small], left[small]):
        np.testing.assert_allclose(np.bincount(place.astype(int)) / small.sum(), 0.2, atol=0.03)


def test_a_box_that_never_fits_becomes_the_centred_square() -> None:
    boxes = _boxes(10, 40, 1.0, 1.0)
    np.testing.assert_array_equal(boxes, np.tile([0.0, 15.0, 10.0, 10.0], (4000, 1)))

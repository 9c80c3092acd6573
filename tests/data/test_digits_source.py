from __future__ import annotations

import numpy as np
from PIL import Image

from spice_keras.data.digits_source import DigitsSource
from spice_keras.data.sources import Decoded


def test_digits() -> None:
    source = DigitsSource(16)
    items = [item for item in source.items() if isinstance(item, Decoded)]
    assert len(items) == len(source) == 1797
    assert [item.id for item in items[:2]] == ["digits/0000", "digits/0001"]
    assert len({item.id for item in items}) == 1797
    images = np.stack([item.image for item in items])
    assert images.dtype == np.uint8
    assert images.shape == (1797, 16, 16, 3)
    assert images.min() == 0
    assert images.max() == 255
    assert (images[..., 0] == images[..., 2]).all()


def test_digits_are_the_grey_levels_resized() -> None:
    from sklearn.datasets import load_digits

    grey = np.rint(load_digits().images[7] * 255 / 16).astype(np.uint8)
    item = list(DigitsSource(8).items())[7]
    assert isinstance(item, Decoded)
    np.testing.assert_array_equal(item.image[..., 1], grey)
    larger = list(DigitsSource(12).items())[7]
    assert isinstance(larger, Decoded)
    bilinear = Image.fromarray(grey).resize((12, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(larger.image[..., 1], np.asarray(bilinear))

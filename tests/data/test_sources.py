from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from PIL import Image

from spice_keras.data.sources import Decoded, DigitsSource, one_line_id

NAMES = st.text(
    st.characters(exclude_characters="/\0") | st.sampled_from("\n\udcff\udc80\\nu\u2028")
)


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


@given(name=NAMES)
def test_ids_are_one_line_of_utf8(name: str) -> None:
    escaped = one_line_id(name)
    assert escaped.encode("utf-8").decode("utf-8") == escaped
    assert len(f"x{escaped}x".splitlines()) == 1


@given(names=st.sets(NAMES))
def test_different_names_have_different_ids(names: set[str]) -> None:
    assert len({one_line_id(name) for name in names}) == len(names)


def test_ordinary_names_stay_as_they_are() -> None:
    for name in (
        "cat/x 1.jpg",
        "\u00e9t\u00e9.png",
        "\u5199\u771f\u3000.png",
        "\U0001f468\u200d\U0001f469.gif",
    ):
        assert one_line_id(name) == name

"""Formats and doors: what training reads, `spice predict` and `serving_default` read alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.levels import KnownLevels
from spice_keras.serving import predict as predict_module
from spice_keras.serving.facts import ModelFacts
from spice_keras.serving.signatures import decoded_squares
from tests.serving.image_files import (
    BROKEN,
    FILES,
    MAX_PIXELS,
    REFUSED,
    deep_png,
    encoded,
    oriented,
    picture,
)

_SIDE = 16
_EXIF = {
    f"{file_format} {number} {order}": oriented(number, order, file_format)
    for file_format in ("JPEG", "PNG", "WEBP")
    for order in "<>"
    for number in range(1, 9)
}


def _training(data: bytes) -> np.ndarray:
    return decode_image(data, image_size=_SIDE, max_pixels=MAX_PIXELS).astype(int)


@pytest.fixture(scope="module")
def served() -> dict[str, tuple[np.ndarray, str]]:
    """Every file through the graph of `serving_default`, in one batch: pixels, and the reason."""
    every = {name: data for name, (data, _) in (FILES | REFUSED | BROKEN).items()} | _EXIF
    graph = tf.function(
        lambda files: decoded_squares(files, _SIDE, "crop", MAX_PIXELS),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    pixels, errors = graph(tf.constant(list(every.values())))
    assert [part.shape[0] for part in graph(tf.constant([], tf.string))] == [0, 0]
    rows = zip(every, pixels.numpy().astype(int), errors.numpy(), strict=True)
    return {name: (image, error.decode()) for name, image, error in rows}


@pytest.mark.parametrize("name", FILES)
def test_serving_sees_what_training_sees(
    name: str, served: dict[str, tuple[np.ndarray, str]]
) -> None:
    data, levels = FILES[name]
    pixels, error = served[name]
    assert error == ""
    assert np.abs(pixels - _training(data)).max() <= levels


@pytest.mark.parametrize("name", REFUSED | BROKEN)
def test_a_file_that_is_refused_leaves_the_others_alone(
    name: str, served: dict[str, tuple[np.ndarray, str]]
) -> None:
    pixels, error = served[name]
    assert error.startswith((REFUSED | BROKEN)[name][1])
    assert not pixels.any()


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_refuses_training_may_read(name: str) -> None:
    assert _training(REFUSED[name][0]).shape == (_SIDE, _SIDE, 3)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_no_door_reads(name: str) -> None:
    with pytest.raises(UndecodableImage):
        _training(BROKEN[name][0])


@pytest.mark.parametrize("name", _EXIF)
def test_photographs_are_turned_upright(
    name: str, served: dict[str, tuple[np.ndarray, str]]
) -> None:
    pixels, error = served[name]
    assert error == ""
    assert np.abs(pixels - _training(_EXIF[name])).max() <= 1
    if " 1 " not in name:  # or the test could not tell
        file_format = name.split()[0]
        options = {"lossless": True} if file_format == "WEBP" else {}
        lying = _training(encoded(picture(), file_format, **options))
        assert np.abs(lying - _training(_EXIF[name])).max() > 20


def test_predict_decodes_as_training_does(tmp_path: Path) -> None:
    facts = ModelFacts(num_clusters=2, image_size=_SIDE, fit="crop", max_pixels=MAX_PIXELS)
    every = FILES | REFUSED | BROKEN
    # Pictures of 16 bits in one folder share a range; alone, as in training above, they do not.
    every = {name: file for name, file in every.items() if "16 bits" not in name or "BMP" in name}
    for row, (data, _) in enumerate(every.values()):
        (tmp_path / f"{row:03}.jpg").write_bytes(data)
    skipped: list[predict_module.SkippedFile] = []
    found = {}
    for names, pixels in predict_module._image_batches([tmp_path], facts, skipped):
        found |= dict(zip(names, pixels, strict=True))
    for row, (name, (data, _)) in enumerate(every.items()):
        key = f"{tmp_path}/{row:03}.jpg"
        assert (key in found) == (name not in BROKEN), name
        if key in found:
            np.testing.assert_array_equal(found[key], _training(data))
    assert len(skipped) == len(BROKEN)


@pytest.mark.parametrize("levels", [(0.0, 4095.0), (100.0, 3000.0)])
def test_the_range_of_the_run_holds_for_what_is_served(levels: tuple[float, float]) -> None:
    data = deep_png(3, 1000)
    known = KnownLevels(integers=levels)
    trained = decode_image(data, image_size=_SIDE, max_pixels=MAX_PIXELS, levels=known)
    served, _ = decoded_squares(tf.constant([data]), _SIDE, "crop", MAX_PIXELS, levels)
    assert np.abs(served[0].numpy().astype(int) - trained.astype(int)).max() <= 1

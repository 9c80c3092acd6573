"""The SavedModel: reloaded in another process it answers as Keras does, and it is small."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.data.decoding import decode_image, resize_image
from spice_keras.serving.resizing import resized
from spice_keras.serving.signatures import decoded_squares, export_clusterer
from tests.models.contract import precision
from tests.models.synthetic import CLUSTERS, SIDE, clusterer, images

_RELOAD = """
import sys
import numpy as np
import tensorflow as tf
folder = sys.argv[1]
loaded = tf.saved_model.load(folder + "/model")
given = np.load(folder + "/given.npz")
files = [given[f"file{i}"].tobytes() for i in range(int(given["files"]))]
answers = {}
for name, value in loaded.signatures["serving_default"](
    encoded_images=tf.constant(files)
).items():
    answers["bytes_" + name] = value.numpy()
for count in (1, 5):
    for name, value in loaded.signatures["images"](
        images=tf.constant(given["images"][:count])
    ).items():
        answers[f"images{count}_{name}"] = value.numpy()
wide = loaded.signatures["images"](images=tf.constant(given["wide"]))
answers["wide_probabilities"] = wide["probabilities"].numpy()
for name, value in loaded.signatures["pixels"](
    pixels=tf.constant(given["images"])
).items():
    answers["pixels_" + name] = value.numpy()
nothing = {
    "serving_default": {"encoded_images": tf.constant([], tf.string)},
    "images": {"images": tf.zeros([0, 9, 7, 3], tf.uint8)},
    "pixels": {"pixels": tf.constant(given["images"][:0])},
}
for name, batch in nothing.items():
    answers["none_" + name] = loaded.signatures[name](**batch)["probabilities"].numpy()
texts = {name: value.astype("S") for name, value in answers.items() if value.dtype == object}
np.savez(folder + "/answers.npz", **(answers | texts))
"""


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture: coarse noise, enlarged."""
    coarse = images(1, seed)[0]
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _file(image: np.ndarray, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.integration
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_another_process_gives_the_same_answers(dtype: str, tmp_path: Path) -> None:
    with precision(dtype):
        model = clusterer()
    names = ("cats", "", "dogs")
    export_clusterer(model, tmp_path / "model", fit="crop", names=names, unsure_below=0.5)
    files = [
        _file(_picture(20, 30), "JPEG"),
        _file(_picture(9, 8, 1), "PNG"),
        _file(_picture(41, 17, 2), "JPEG", quality=70),
        _file(_picture(SIDE, SIDE, 3), "PNG"),
        _file(_picture(12, 12, 4)[:, :, 0], "PNG"),
        _file(_picture(12, 15, 5)[:, :, 0], "JPEG"),
        _file(_picture(10, 10, 6), "BMP"),
        b"not an image",
    ]
    small, wide = images(5), np.stack([_picture(12, 30, seed) for seed in range(2)])
    np.savez(
        tmp_path / "given.npz",
        files=len(files),
        images=small,
        wide=wide,
        **{f"file{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(files)},
    )
    subprocess.run([sys.executable, "-c", _RELOAD, str(tmp_path)], check=True, timeout=120)
    answers = np.load(tmp_path / "answers.npz")

    training = [decode_image(data, image_size=SIDE, max_pixels=10_000) for data in files[:-1]]
    expected = model(np.stack(training))
    # A grey level of the resize may differ from Pillow's by one.
    exact, tolerance = (1e-6, 3e-3) if dtype == "float32" else (3e-3, 2e-2)
    for name, value in expected.items():
        np.testing.assert_allclose(answers[f"bytes_{name}"][:-1], value, atol=tolerance)
    for count in (1, 5):
        for name, value in model(small[:count]).items():
            np.testing.assert_allclose(answers[f"images{count}_{name}"], value, atol=exact)
    shrunk = np.stack([resize_image(image, SIDE) for image in wide])
    np.testing.assert_allclose(
        answers["wide_probabilities"], model(shrunk)["probabilities"], atol=tolerance
    )
    _check_what_is_added(answers, names)
    for signature in ("serving_default", "images", "pixels"):
        assert answers["none_" + signature].shape == (0, CLUSTERS)


def _check_what_is_added(answers: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    """Second choice, doubt, names and errors, by the probabilities beside them."""
    for endpoint in ("bytes", "pixels", "images5"):
        got = {name: answers[f"{endpoint}_{name}"] for name in _ADDED}
        good = np.arange(len(got["cluster"]) - (endpoint == "bytes"))
        order = np.argsort(-got["probabilities"][good], axis=1, kind="stable")
        assert got["cluster"].dtype == got["second_choice"].dtype == np.int32
        np.testing.assert_array_equal(got["second_choice"][good], order[:, 1])
        second = got["probabilities"][good, order[:, 1]]
        np.testing.assert_array_equal(got["second_probability"][good], second)
        np.testing.assert_array_equal(got["unsure"][good], got["confidence"][good] < 0.5)
        assert [text.decode() for text in got["name"][good]] == [names[c] for c in order[:, 0]]
    assert answers["bytes_cluster"][-1] == answers["bytes_second_choice"][-1] == -1
    assert answers["bytes_name"][-1] == b""
    assert answers["bytes_unsure"][-1]
    assert not answers["bytes_embedding"][-1].any()
    assert [bool(error) for error in answers["bytes_error"]] == [False] * 7 + [True]


_ADDED = (
    "cluster", "confidence", "probabilities", "second_choice", "second_probability", "unsure",
    "name",
)  # fmt: skip


def test_weights_are_written_once(exported: Path) -> None:
    weights = 4 * clusterer().count_params()
    folder = exported / "1" / "variables"
    written = sum(file.stat().st_size for file in folder.glob("*.data-*"))
    assert weights <= written < 1.5 * weights + 2_000


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(60, 80, 16), (37, 23, 16), (10, 13, 16), (16, 16, 16), (200, 300, 32), (1, 5, 4)],
)
def test_resizes_like_training(fit: str, height: int, width: int, side: int) -> None:
    picture = _picture(height, width)
    ours = resized(picture[np.newaxis], side, fit)[0].numpy().astype(int)
    assert np.abs(ours - resize_image(picture, side, fit)).max() <= 1


def test_each_model_of_a_process_has_its_own_range(tmp_path: Path) -> None:
    """Although the graphs that decode are kept; and a range from a JSON file is a list."""
    deep = np.linspace(0, 40_000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    files, model, seen = tf.constant([_file(deep, "PNG")]), clusterer(), []
    ranges: list[Any] = [None, [0.0, 65_535.0], (0.0, 20_000.0)]
    for number, limits in enumerate(ranges):
        export_clusterer(model, tmp_path / str(number), deep_range=limits)
        loaded = tf.saved_model.load(str(tmp_path / str(number)))
        said = loaded.signatures["serving_default"](encoded_images=files)
        squares, _ = decoded_squares(files, SIDE, "crop", 10_000, limits)
        expected = model(squares)["probabilities"]
        np.testing.assert_allclose(said["probabilities"], expected, atol=1e-6)
        seen.append(squares.numpy())
    assert seen[1].mean() < seen[2].mean()


def test_a_batch_without_images_gives_none() -> None:
    assert resized(np.zeros((0, 9, 7, 3), np.uint8), 4, "crop").shape == (0, 4, 4, 3)


def test_refuses_an_unknown_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fit='pad'"):
        export_clusterer(clusterer(), tmp_path, fit="pad")


def test_refuses_a_clusterer_of_other_shapes(tmp_path: Path) -> None:
    inputs = keras.Input((8, 9, 3), dtype="uint8")
    with pytest.raises(ValueError, match="squares of one size"):
        export_clusterer(keras.Model(inputs, inputs), tmp_path)

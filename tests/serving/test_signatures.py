"""The SavedModel: reloaded in another process it answers as Keras does, and it is small."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.data.decoding import decode_image, resize_image
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.models.clusterer import build_clusterer
from spice_keras.serving.signatures import decoded, export_clusterer, resized
from tests.models.contract import precision
from tests.models.synthetic import CLUSTERS, FEATURES, SIDE, encoder, images

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
np.savez(folder + "/answers.npz", **answers)
"""


def _clusterer() -> keras.Model:
    heads = MultiHeadClassifier(2, CLUSTERS, seed=4)
    heads.build((None, FEATURES))
    return build_clusterer(encoder(), heads.head_model(1))


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
        clusterer = _clusterer()
    export_clusterer(clusterer, tmp_path / "model", image_size=SIDE, fit="crop")
    files = [
        _file(_picture(20, 30), "JPEG"),
        _file(_picture(9, 8, 1), "PNG"),
        _file(_picture(41, 17, 2), "JPEG", quality=70),
        _file(_picture(SIDE, SIDE, 3), "PNG"),
        _file(_picture(12, 12, 4)[:, :, 0], "PNG"),
        _file(_picture(12, 15, 5)[:, :, 0], "JPEG"),
        _file(_picture(10, 10, 6), "BMP"),
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

    training = [decode_image(data, image_size=SIDE, max_pixels=10_000) for data in files]
    expected = clusterer(np.stack(training))
    # A grey level of the resize may differ from Pillow's by one.
    exact, tolerance = (1e-6, 3e-3) if dtype == "float32" else (3e-3, 2e-2)
    for name, value in expected.items():
        np.testing.assert_allclose(answers[f"bytes_{name}"], value, atol=tolerance)
    for count in (1, 5):
        for name, value in clusterer(small[:count]).items():
            np.testing.assert_allclose(answers[f"images{count}_{name}"], value, atol=exact)
    shrunk = np.stack([resize_image(image, SIDE) for image in wide])
    np.testing.assert_allclose(
        answers["wide_probabilities"], clusterer(shrunk)["probabilities"], atol=tolerance
    )


def test_weights_are_written_once(tmp_path: Path) -> None:
    clusterer = _clusterer()
    folder = export_clusterer(clusterer, tmp_path / "deep" / "model", image_size=SIDE)
    weights = 4 * clusterer.count_params()
    written = sum(file.stat().st_size for file in (folder / "variables").glob("*.data-*"))
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


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF"])
def test_decodes_like_training(file_format: str) -> None:
    data = _file(_picture(24, 24), file_format)
    ours = decoded(tf.constant(data)).numpy().astype(int)
    theirs = decode_image(data, image_size=24, max_pixels=1000)
    assert np.abs(ours - theirs).max() == 0


def test_transparency_lies_over_the_background_of_training() -> None:
    alpha = np.linspace(0, 255, 144, dtype=np.uint8).reshape(12, 12, 1)
    data = _file(np.concatenate([_picture(12, 12), alpha], axis=2), "PNG")
    ours = decoded(tf.constant(data)).numpy().astype(int)
    assert np.abs(ours - decode_image(data, image_size=12, max_pixels=1000)).max() <= 1


def test_refuses_an_unknown_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fit='pad'"):
        export_clusterer(_clusterer(), tmp_path, image_size=SIDE, fit="pad")


def test_refuses_another_image_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image_size=9"):
        export_clusterer(_clusterer(), tmp_path, image_size=9)

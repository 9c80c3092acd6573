"""Prediction: files, folders and arrays through a SavedModel, and everything that can be wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.serving import predict as predict_module
from spice_keras.serving.predict import HEADER, Predictions, find_model, predict

_SIDE = 4


class _Brightness(tf.Module):
    """Cluster 1 for bright images; the confidence tells their mean."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3]) / 255.0
        return {"cluster": tf.cast(mean > 0.5, tf.int32), "confidence": mean}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bright" / "1"
    module = _Brightness()
    tf.saved_model.save(module, str(folder), signatures={"images": module.images})
    facts = {"num_clusters": 2, "image_size": _SIDE, "fit": "crop", "max_pixels": 10_000}
    (folder / "spice.json").write_text(json.dumps(facts))
    return folder


def _picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value,) * 3).save(path)
    return path


def test_files_folders_and_arrays_in_the_order_given(tmp_path: Path, model: Path) -> None:
    bright = _picture(tmp_path / "bright.png", 255)
    folder = tmp_path / "folder"
    _picture(folder / "b" / "dark.png", 0)
    _picture(folder / "a.jpg", 255)
    (folder / "notes.txt").write_text("no image")
    array = tmp_path / "x.npy"
    np.save(array, np.stack([np.full((8, 8, 3), value, np.uint8) for value in (51, 204)]))
    named = tmp_path / "y.npz"
    np.savez(named, images=np.zeros((1, 8, 8), np.float32), ids=np.array(["grey"]))

    found = predict(model, [bright, folder, array, named])
    assert found.images == (
        str(bright), f"{folder}/a.jpg", f"{folder}/b/dark.png", "0000000", "0000001", "grey"
    )  # fmt: skip
    assert found.clusters.tolist() == [1, 1, 0, 0, 1, 0]
    np.testing.assert_allclose(found.confidence, [1, 1, 0, 0.2, 0.8, 0], atol=1e-6)
    assert [item.path for item in found.skipped] == [f"{folder}/notes.txt"]
    assert "not an image" in found.skipped[0].reason


def test_the_table(tmp_path: Path, model: Path) -> None:
    odd = _picture(tmp_path / 'a, "b".png', 51)
    found = predict(model, [odd])
    found.write(tmp_path / "deep" / "out.csv")
    with (tmp_path / "deep" / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [list(HEADER), [str(odd), "0", "0.200000", ""]]  # this model has no names


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path, model: Path) -> None:
    for name in (b"bad\xff.png", b"two\nlines.png"):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        _picture(tmp_path / "plain.png", 0).rename(path)
        (image,) = predict(model, [path]).images
        image.encode("utf-8")
        assert "\n" not in image
        assert image == predict(model, [tmp_path]).images[0]
        path.unlink()


def test_many_images_pass_in_batches(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_module, "_BATCH", 3)
    values = np.arange(0, 250, 25, dtype=np.uint8)
    np.save(tmp_path / "x.npy", np.broadcast_to(values[:, None, None, None], (10, 4, 4, 3)))
    found = predict(model, [tmp_path / "x.npy"])
    np.testing.assert_allclose(found.confidence, values / 255, atol=1e-6)
    assert len(found.images) == 10


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a SavedModel, .* `spice export` writes"):
        predict(tmp_path, [])


def test_a_name_means_its_newest_version_and_a_run_its_own_model(
    tmp_path: Path, model: Path
) -> None:
    assert find_model(model) == model
    assert find_model(model.parent) == model
    (tmp_path / "config.yaml").touch()
    assert find_model(tmp_path, exported=lambda run: run / "elsewhere") == tmp_path / "elsewhere"
    bright = _picture(tmp_path / "bright.png", 255)
    assert predict(model.parent, [bright]).clusters.tolist() == [1]


def test_a_graph_that_writes_a_file_is_refused_unless_it_is_trusted(
    tmp_path: Path, model: Path
) -> None:
    stolen = tmp_path / "stolen"

    class Writer(_Brightness):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
        def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.control_dependencies([tf.io.write_file(str(stolen), "x")]):
                zeros = tf.zeros_like(images[:, 0, 0, 0], tf.int32)
            return {"cluster": zeros, "confidence": tf.cast(zeros, tf.float32)}

    module, folder = Writer(), tmp_path / "evil"
    tf.saved_model.save(module, str(folder), signatures={"images": module.images})
    (folder / "spice.json").write_text((model / "spice.json").read_text())
    bright = _picture(tmp_path / "bright.png", 255)
    with pytest.raises(UserError, match="WriteFile"):
        predict(folder, [bright])
    assert not stolen.exists()
    assert predict(folder, [bright], trust=True).clusters.tolist() == [0]
    assert stolen.exists()


def test_an_older_model_has_no_second_choice(tmp_path: Path, model: Path) -> None:
    found = predict(model, [_picture(tmp_path / "bright.png", 255)])
    with pytest.raises(UserError, match=r"does not give second_choice, .* Export the run again"):
        found.columns(second=True)
    with pytest.raises(UserError, match="does not give embedding"):
        found.columns(embedding=True)


@pytest.fixture
def found() -> Predictions:
    outputs = {
        "cluster": np.array([1, 0], np.int32),
        "confidence": np.array([0.75, 0.5], np.float32),
        "name": np.array(["b", "a"], object),
        "second_choice": np.array([0, 1], np.int32),
        "second_probability": np.array([0.25, 0.5], np.float32),
        "second_name": np.array(["a", "b"], object),
        "unsure": np.array([False, True]),
        "embedding": np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32),
    }
    return Predictions(("one.png", "two.png"), outputs, ())


def test_more_columns_on_request(tmp_path: Path, found: Predictions) -> None:
    assert [*found.columns()] == [*HEADER]
    assert [*found.rows(second=True, embedding=True)] == [
        ("one.png", 1, "0.750000", "b", 0, "0.250000", "a", 0, "1.000000", "0.000000", "0.000000"),
        ("two.png", 0, "0.500000", "a", 1, "0.500000", "b", 1, "0.000000", "0.600000", "0.800000"),
    ]


def test_a_parquet_table_holds_the_same(tmp_path: Path, found: Predictions) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    found.write(tmp_path / "deep" / "t.parquet", table="parquet", second=True, embedding=True)
    table = parquet.read_table(tmp_path / "deep" / "t.parquet").to_pydict()
    for name, column in found.columns(second=True, embedding=True).items():
        assert table[name] == column.tolist()


def test_damaged_variables_are_refused(tmp_path: Path, exported: Path) -> None:
    damaged = shutil.copytree(exported / "1", tmp_path / "1")
    (weights,) = (damaged / "variables").glob("*.data-*")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"does not load: .* Export the run again"):
        predict(damaged, [_picture(tmp_path / "bright.png", 255)])


@pytest.mark.parametrize("text", [None, "{", "{}", '{"image_size": 4}'])
def test_a_model_of_someone_else_is_refused(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    if text is not None:
        (tmp_path / "spice.json").write_text(text)
    with pytest.raises(UserError, match="`spice export` did not write it"):
        predict(tmp_path, [])


def test_a_damaged_model_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((model / "saved_model.pb").read_bytes()[:100])
    (tmp_path / "spice.json").write_text((model / "spice.json").read_text())
    with pytest.raises(UserError, match="does not load"):
        predict(tmp_path, [tmp_path])


def test_a_missing_file_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UserError, match=r"no file or folder .*gone\.png"):
        predict(model, [_picture(tmp_path / "there.png", 0), tmp_path / "gone.png"])


def test_where_nothing_can_be_read_the_reasons_are_given(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"None of the 2 files is a readable image") as caught:
        predict(model, [tmp_path / "empty.png", tmp_path / "notes.txt"])
    assert f"{tmp_path}/empty.png: " in str(caught.value)

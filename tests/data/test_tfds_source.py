from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.data.labels import Labels
from spice_keras.data.sources import Decoded, SourceOptions
from spice_keras.data.tfds_source import TfdsSource
from spice_keras.errors import UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds


@pytest.fixture
def mocked(tmp_path: Path) -> Iterator[str]:
    """Seven made-up examples of whatever data set is asked for."""
    with tfds.testing.mock_data(num_examples=7):
        yield str(tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "stl10", "imagenet2012"])
def test_images(name: str, mocked: str) -> None:
    source = TfdsSource(name, "train", mocked, 8, "crop")
    items = [item for item in source.items() if isinstance(item, Decoded)]
    assert len(source) == len(items) == 7
    assert items[3].id == f"{name}/train/0000003"
    for item in items:
        assert item.image.shape == (8, 8, 3)
        assert item.image.dtype == np.uint8
    again = [item for item in source.items() if isinstance(item, Decoded)]
    np.testing.assert_array_equal([i.image for i in items], [i.image for i in again])


def _labels(name: str, data_dir: str, rows: Sequence[int] = range(7), **options: str) -> Labels:
    ids = [f"{name}/train/{row:07d}" for row in rows]
    return TfdsSource.read_labels(SourceOptions(name, data_dir=data_dir, **options), ids)


def test_labels(mocked: str) -> None:
    labels = _labels("cifar10", mocked)
    assert labels.values.shape == (7,)
    assert labels.values.dtype == np.int32
    assert len(labels.class_names) == 10
    assert _labels("cifar10", mocked, [5, 1]).values.tolist() == labels.values[[5, 1]].tolist()
    coarse = _labels("cifar100", mocked, label_key="coarse_label")
    assert len(coarse.class_names) == 20


def test_a_negative_label_is_unknown(tmp_path: Path) -> None:
    """STL-10's images without a class have -1."""

    def rows(builder: Any, **options: Any) -> tf.data.Dataset:
        images = np.zeros((3, 96, 96, 3), np.uint8)
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": [2, -1, -2]})

    with tfds.testing.mock_data(as_dataset_fn=rows):
        labels = _labels("stl10", str(tmp_path), range(3))
    assert labels.values.tolist() == [2, -1, -1]
    assert len(labels.class_names) == 10


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("mnist", "kind", r"'kind' of 'mnist' .*does not exist.* in: label\."),
        ("cifar10", "id", r"'id' of 'cifar10' .*is not a class label.* in: label\."),
        ("cifar100", "labels", r"does not exist\. .* in: coarse_label, label\."),
        ("div2k", "label", r"does not exist\. .* in: no feature\."),
    ],
)
def test_features_that_hold_no_class_are_known_before_anything_is_decoded(
    mocked: str, name: str, key: str, message: str
) -> None:
    source = TfdsSource(name, "train", mocked, 8, "crop", key)
    ways_on = r".*--set data\.label_key=NAME.*--labels none"
    with pytest.raises(UserError, match=message + ways_on):
        source.check_labels()
    with pytest.raises(UserError, match=message + ways_on):
        _labels(name, mocked, label_key=key)
    TfdsSource("cifar10", "train", mocked, 8, "crop").check_labels()


def test_a_data_set_without_images(mocked: str) -> None:
    with pytest.raises(UserError, match="not exactly one image feature"):
        len(TfdsSource("imdb_reviews", "train", mocked, 8, "crop"))


def test_unknown_name(tmp_path: Path) -> None:
    for name in ("no_such_data", "No Such Data!", "", "cifar10:99.0.0"):
        with pytest.raises(UserError, match="TensorFlow Datasets has no data set") as raised:
            len(TfdsSource(name, "train", str(tmp_path), 8, "crop"))
        assert len(str(raised.value)) < 500


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ImportError("no gcsfs")])
def test_offline(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=r"could not be downloaded \(no .*tfds build mnist"):
        len(TfdsSource("mnist", "train", str(tmp_path), 8, "crop"))


def test_unknown_split_and_damage_on_a_prepared_data_set(tmp_path: Path) -> None:
    # TensorFlow Datasets imports it when it writes, but does not declare it.
    pytest.importorskip("importlib_resources")
    tfds.testing.DummyMnist(data_dir=str(tmp_path)).download_and_prepare()
    source = TfdsSource("dummy_mnist", "train[:3]+test", str(tmp_path), 8, "crop")
    assert len(source) == len(list(source.items())) == 23
    with pytest.raises(UserError, match="has no split 'dev'"):
        len(TfdsSource("dummy_mnist", "dev", str(tmp_path), 8, "crop"))
    (record,) = tmp_path.glob("dummy_mnist/*/*-train.tfrecord*")
    data = bytearray(record.read_bytes())
    data[40] ^= 0xFF
    record.write_bytes(data)
    with pytest.raises(UserError, match="dummy_mnist' are damaged"):
        list(source.items())

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.data.labels import tfds_labels
from spice_keras.data.sources import Decoded
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


def test_labels(mocked: str) -> None:
    labels = tfds_labels("cifar10", "train", mocked)
    assert labels.values.shape == (7,)
    assert labels.values.dtype == np.int32
    assert len(labels.class_names) == 10
    ids = ["cifar10/train/0000005", "cifar10/train/0000001"]
    some = tfds_labels("cifar10", "train", mocked, ids)
    assert some.values.tolist() == labels.values[[5, 1]].tolist()
    coarse = tfds_labels("cifar100", "train", mocked, feature="coarse_label")
    assert len(coarse.class_names) == 20


def test_features_that_are_not_there(mocked: str) -> None:
    with pytest.raises(UserError, match=r"no feature 'kind'\. It has: image, .*label"):
        tfds_labels("mnist", "train", mocked, feature="kind")
    with pytest.raises(UserError, match="no class labels"):
        tfds_labels("cifar10", "train", mocked, feature="id")
    with pytest.raises(UserError, match="not exactly one image feature"):
        TfdsSource("imdb_reviews", "train", mocked, 8, "crop")


def test_unknown_name(tmp_path: Path) -> None:
    for name in ("no_such_data", "No Such Data!", "", "cifar10:99.0.0"):
        with pytest.raises(UserError, match="TensorFlow Datasets has no data set") as raised:
            TfdsSource(name, "train", str(tmp_path), 8, "crop")
        assert len(str(raised.value)) < 500


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ImportError("no gcsfs")])
def test_offline(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=r"could not be downloaded \(no .*tfds build mnist"):
        TfdsSource("mnist", "train", str(tmp_path), 8, "crop")


def test_unknown_split_and_damage_on_a_prepared_data_set(tmp_path: Path) -> None:
    # TensorFlow Datasets imports it when it writes, but does not declare it.
    pytest.importorskip("importlib_resources")
    tfds.testing.DummyMnist(data_dir=str(tmp_path)).download_and_prepare()
    source = TfdsSource("dummy_mnist", "train[:3]+test", str(tmp_path), 8, "crop")
    assert len(source) == len(list(source.items())) == 23
    with pytest.raises(UserError, match="has no split 'dev'"):
        TfdsSource("dummy_mnist", "dev", str(tmp_path), 8, "crop")
    (record,) = tmp_path.glob("dummy_mnist/*/*-train.tfrecord*")
    data = bytearray(record.read_bytes())
    data[40] ^= 0xFF
    record.write_bytes(data)
    with pytest.raises(UserError, match="dummy_mnist' are damaged"):
        list(source.items())

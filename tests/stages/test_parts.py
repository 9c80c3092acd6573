"""Parts of published data sets into the run directory, and their labels out of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.config import load_config
from spice_keras.config.class_lists import CLASS_LISTS
from spice_keras.config.protocol import PartCounts
from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.preflight import describe_plan, preflight
from spice_keras.run.sources import count_sources
from spice_keras.stages.ingest import ingest
from spice_keras.stages.labels import read_labels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds

_COUNT = 7  # images TensorFlow Datasets makes up of every split, the same of each
_SMALL = {"pretrain.batch_size": 4, "pretrain.queue_size": 4, "pretrain.bn_groups": 1}


def _context(path: Path, name: str, **options: Any) -> Context:
    overrides = {
        "num_clusters": 2,
        "data.image_size": 8,
        **_SMALL,
        **{key.replace("__", "."): value for key, value in options.items()},
    }
    config = load_config(name, overrides=overrides)
    return Context(config, RunDirectory.create(path / "run", config.as_dict()))


@pytest.fixture
def mocked(tmp_path: Path) -> Iterator[str]:
    with tfds.testing.mock_data(num_examples=_COUNT):
        yield str(tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100-20", "stl10"])
@pytest.mark.parametrize("protocol", ["whole", "split"])
def test_splits_of_tensorflow_datasets(
    name: str, protocol: str, mocked: str, tmp_path: Path
) -> None:
    context = _context(tmp_path, name, data__tfds_dir=mocked, data__protocol=protocol)
    ingest(context)
    extra = _COUNT if name == "stl10" else 0
    assert context.counts == PartCounts(_COUNT, _COUNT, extra)
    clustered = _COUNT if protocol == "split" else 2 * _COUNT
    assert len(context.images) == len(context.ids) == clustered
    assert len(context.pretraining_images) == clustered + extra
    data_set = context.config.data.path
    assert context.ids[-1] == f"{data_set}/train/0000006"
    reported = context.reported_parts[0]
    assert reported.ids[0] == f"{data_set}/test/0000000"
    np.testing.assert_array_equal(reported.images, context._stored_images[: len(reported.ids)])
    assert context.duplicates_removed is None


def test_superclasses_are_the_labels_of_cifar100(mocked: str, tmp_path: Path) -> None:
    context = _context(tmp_path, "cifar100-20", data__tfds_dir=mocked, data__protocol="split")
    ingest(context)
    for part in context.reported_parts:
        labels = read_labels(part)
        assert labels is not None
        assert len(labels.values) == _COUNT
        assert len(labels.class_names) == 20


def _stl10(builder: Any, split: str, **options: Any) -> tf.data.Dataset:
    """Three test images, which are three of the seven unlabelled ones, and five to train on."""
    levels = {"test": [1, 2, 3], "train": [3, 20, 21, 22, 23], "unlabelled": range(7)}[split]
    images = np.stack([np.full((96, 96, 3), level, np.uint8) for level in levels])
    return tf.data.Dataset.from_tensor_slices({"image": images, "label": [0] * len(images)})


@pytest.mark.parametrize(("asked", "extra"), [(True, [0, 4, 5, 6]), (False, [*range(7)])])
def test_stl10s_copies_are_left_out_when_asked(
    asked: bool, extra: list[int], tmp_path: Path
) -> None:
    with tfds.testing.mock_data(as_dataset_fn=_stl10):
        context = _context(
            tmp_path, "stl10", data__tfds_dir=str(tmp_path), data__deduplicate=asked,
            data__protocol="split",
        )  # fmt: skip
        ingest(context)
    assert context.counts == PartCounts(5, 3, len(extra))
    assert context.duplicates_removed == (3 if asked else None)
    levels = context.pretraining_images[:, 0, 0, 0].tolist()
    assert levels == [3, 20, 21, 22, 23, *extra], "train images may equal test images"


def _draw(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 8), (value,) * 3).save(path, "PNG")


def test_tiny_imagenets_folders_are_read_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(("n01", "n02")):
        for row in range(6):
            _draw(root / f"train/{wnid}/images/{wnid}_{row}.JPEG", 10 * number + row)
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("x")
    lines = []
    for row in range(4):
        _draw(root / f"val/images/val_{row}.JPEG", 100 + row)
        lines.append(f"val_{row}.JPEG\tn0{1 + row % 2}\t0\t0\t1\t1\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    context = _context(
        tmp_path, "tinyimagenet", data__path=str(root / "train"), data__test_path=str(root / "val"),
        data__protocol="split",
    )  # fmt: skip
    ingest(context)
    test, train = context.reported_parts
    assert test.ids == [f"test/images/val_{row}.JPEG" for row in range(4)]
    assert train.ids[0] == "train/n01/images/n01_0.JPEG"
    of_test, of_train = read_labels(test), read_labels(train)
    assert of_test is not None
    assert of_train is not None
    assert of_test.values.tolist() == [0, 1, 0, 1]
    assert of_test.class_names == of_train.class_names == ("n01", "n02")
    assert of_train.values.tolist() == [0] * 6 + [1] * 6
    skipped = {path for path, _ in context.skipped}
    assert skipped == set()  # its lists of boxes are passed over


def test_under_whole_labels_of_both_parts_are_one(tmp_path: Path) -> None:
    for part, wnid in (("a", "cat"), ("a", "dog"), ("b", "dog"), ("b", "eel")):
        for row in range(3):
            _draw(tmp_path / part / wnid / f"{row}.png", row)
    context = _context(
        tmp_path, "folder", data__path=str(tmp_path / "a"), data__test_path=str(tmp_path / "b"),
        data__labels="from-folders",
    )  # fmt: skip
    ingest(context)
    labels = read_labels(context)
    assert labels is not None
    assert labels.class_names == ("cat", "dog", "eel")
    names = [labels.class_names[value] for value in labels.values]
    assert names == [name.split("/")[1] for name in context.ids]


def test_imagenet10_is_ten_sub_folders_of_imagenet(tmp_path: Path) -> None:
    for wnid in {*CLASS_LISTS["imagenet10"], *CLASS_LISTS["imagenet_dogs"]}:
        _draw(tmp_path / "train" / wnid / f"{wnid}_0.JPEG", 1)
    context = _context(tmp_path, "imagenet10", data__path=str(tmp_path / "train"))
    assert count_sources(context.config.data) == PartCounts(10)
    ingest(context)
    assert sorted({name.split("/")[0] for name in context.ids}) == sorted(CLASS_LISTS["imagenet10"])
    labels = read_labels(context)
    assert labels is not None
    assert len(labels.class_names) == 10
    assert not (context.run.path / "artifacts/images/parts.json").exists()


def test_a_part_without_images_leaves_nothing_behind(tmp_path: Path) -> None:
    for row in range(20):
        _draw(tmp_path / "a" / f"{row}.png", row)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "no.png").write_text("no image")
    context = _context(
        tmp_path, "folder", data__path=str(tmp_path / "a"), data__test_path=str(tmp_path / "b")
    )
    with pytest.raises(UserError, match="no readable test images"):
        ingest(context)
    assert not list((context.run.path / "artifacts").iterdir())


def test_the_plan_tells_the_parts_apart_before_anything_is_read(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 5), ("extra", 8)):
        np.save(tmp_path / f"{part}.npy", np.zeros((count, 8, 8), np.uint8))
    context = _context(
        tmp_path, "folder", data__source="arrays", data__path=str(tmp_path / "train.npy"),
        data__test_path=str(tmp_path / "test.npy"), data__extra_path=str(tmp_path / "extra.npy"),
        data__protocol="split",
    )  # fmt: skip
    plan = preflight(context.config)
    assert plan is not None
    assert plan.pretrain.steps_per_epoch == 5
    assert describe_plan(plan)[1] == (
        "protocol    20 images pretrain, 12 are clustered, 12 unlabelled in SPICE-Semi, 5 reported"
    )
    ingest(context)
    assert json.loads((context.run.path / "plan.json").read_text()) == plan.as_dict()

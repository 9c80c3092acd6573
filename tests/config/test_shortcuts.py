"""`--images`: the kind of source, and a name for the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config.loading import load_config
from spice_keras.config.shortcuts import folder_config, run_name, source_overrides
from spice_keras.errors import UserError

_NO_PARTS = {"data.test_split": None, "data.extra_split": None, "data.label_key": "label"}


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Summer photos"
    folder.mkdir()
    expected = {"data.source": "folder", "name": "Summer-photos"} | _NO_PARTS
    assert source_overrides(str(folder)) == expected | {"data.path": str(folder)}
    monkeypatch.chdir(folder)
    assert source_overrides(".") == expected | {"data.path": "."}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells.v2{suffix}"
    path.touch()
    found = source_overrides(str(path))
    expected = {"data.source": "arrays", "data.path": str(path), "name": "cells.v2"}
    assert found == expected | _NO_PARTS


def test_files_take_the_place_of_the_parts_of_a_published_data_set(tmp_path: Path) -> None:
    data = load_config("cifar10", overrides=source_overrides(str(tmp_path))).data
    assert (data.source, data.has_test, data.has_extra) == ("folder", False, False)


def test_a_name_of_tensorflow_datasets() -> None:
    found = source_overrides("tfds:stl10/fold:2")
    assert found == {"data.source": "tfds", "data.path": "stl10/fold:2", "name": "stl10-fold-2"}


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="--images gone: there is no such file or folder"):
        source_overrides("gone")


def test_a_single_image_is_refused_with_what_is_meant_for_it(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(UserError, match="spice predict"):
        source_overrides(str(tmp_path / "cat.jpg"))


def test_a_folder_is_encoded_with_weights_unless_a_network_to_train_is_named() -> None:
    name, note = folder_config(None)
    assert name == "pretrained"
    assert note is not None
    assert "with the labels of ImageNet" in note
    assert folder_config("efficientnet_lite0") == ("pretrained", None)
    assert folder_config("small_resnet") == ("folder", None)


@given(st.text(max_size=100))
def test_every_text_gives_a_name_the_schema_takes(text: str) -> None:
    assert load_config(overrides={"name": run_name(text)}).name == run_name(text)


def test_a_name_that_is_one_stays() -> None:
    assert run_name("cifar10-small_2.b") == "cifar10-small_2.b"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("a.tar", "b.tar", "manifest.json", ".hidden"), "tar"),
        (("a.tfrecord",), "tfrecord"),
        (("a.tar", "b.tfrecord"), "folder"),
        (("a.tar", "b.png"), "folder"),
        (("facts.json",), "folder"),
        ((), "folder"),
    ],
)
def test_a_folder_of_nothing_but_shards_is_read_as_such(
    tmp_path: Path, names: tuple[str, ...], kind: str
) -> None:
    (tmp_path / "below").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert source_overrides(str(tmp_path))["data.source"] == kind

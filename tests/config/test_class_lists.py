"""The named subsets of ImageNet."""

from __future__ import annotations

import re

import pytest

from spice_keras.config import load_config
from spice_keras.config.class_lists import CLASS_LISTS
from spice_keras.errors import UserError

_FOLDER = {"data.source": "folder", "data.path": "train"}


@pytest.mark.parametrize(("name", "count"), [("imagenet10", 10), ("imagenet_dogs", 15)])
def test_a_list_names_different_wordnet_ids(name: str, count: int) -> None:
    classes = load_config(overrides={**_FOLDER, "data.classes": name}).data.classes
    assert classes == CLASS_LISTS[name]
    assert len(set(classes)) == count
    assert all(re.fullmatch(r"n\d{8}", folder) for folder in classes)


def test_the_run_keeps_the_folders_and_reads_them_back() -> None:
    config = load_config(overrides={**_FOLDER, "data.classes": ["dog", "cat"]})
    assert config.as_dict()["data"]["classes"] == ["dog", "cat"]
    assert load_config(base=config.as_dict()) == config


@pytest.mark.parametrize("value", ["imagenet100", 5, [], ["a", "a"], ["a/b"], [".."], [1, 2]])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"data\.classes"):
        load_config(overrides={**_FOLDER, "data.classes": value})

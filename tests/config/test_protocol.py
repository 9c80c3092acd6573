"""The protocol: which rows each stage sees, and what is refused of parts that do not fit."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config import RunConfig, load_config
from spice_keras.config.protocol import PartCounts, part_config, part_prefix, roles_of, stage_rows
from spice_keras.errors import UserError

_counts = st.builds(
    PartCounts,
    train=st.integers(1, 50),
    test=st.integers(1, 50),
    extra=st.integers(0, 50),
)


def _roles(counts: PartCounts, rows: slice) -> list[str]:
    order = ["test"] * counts.test + ["train"] * counts.train + ["extra"] * counts.extra
    return order[rows]


def _config(**options: Any) -> RunConfig:
    return load_config(overrides={name.replace("__", "."): v for name, v in options.items()})


@given(_counts, st.booleans())
def test_under_whole_train_and_test_are_one_set(counts: PartCounts, extra: bool) -> None:
    rows = stage_rows(counts, "whole", extra_in_semi=extra)
    both = ["test"] * counts.test + ["train"] * counts.train
    unlabelled = ["extra"] * counts.extra
    assert _roles(counts, rows.pretrained) == both + unlabelled
    assert _roles(counts, rows.clustered) == _roles(counts, rows.reported) == both
    assert _roles(counts, rows.unlabeled) == both + (unlabelled if extra else [])


@given(_counts, st.booleans())
def test_under_split_nothing_that_trains_sees_a_test_image(counts: PartCounts, extra: bool) -> None:
    rows = stage_rows(counts, "split", extra_in_semi=extra)
    train, unlabelled = ["train"] * counts.train, ["extra"] * counts.extra
    assert _roles(counts, rows.pretrained) == train + unlabelled
    assert _roles(counts, rows.clustered) == train
    assert _roles(counts, rows.unlabeled) == train + (unlabelled if extra else [])
    assert _roles(counts, rows.reported) == ["test"] * counts.test


@pytest.mark.parametrize("protocol", ["whole", "split"])
def test_row_r_of_the_labels_is_row_r_of_the_unlabelled_images(
    protocol: Literal["whole", "split"],
) -> None:
    rows = stage_rows(PartCounts(5, 3, 4), protocol, extra_in_semi=True)
    assert rows.unlabeled.start == rows.clustered.start


def test_one_part_is_all_of_everything() -> None:
    rows = stage_rows(PartCounts(7), "whole", extra_in_semi=False)
    for seen in (rows.pretrained, rows.clustered, rows.unlabeled, rows.reported):
        assert seen == slice(0, 7)


def test_parts_of_folders_differ_in_their_paths() -> None:
    data = _config(
        data__source="folder", data__path="a", data__test_path="b", data__extra_path="c",
        data__classes=["cat", "dog"],
    ).data  # fmt: skip
    assert roles_of(data) == ("test", "train", "extra")
    assert [part_config(data, role).path for role in roles_of(data)] == ["b", "a", "c"]
    assert part_config(data, "test").classes == ("cat", "dog")
    assert part_config(data, "extra").classes is None, "unlabelled images lie in no class's folder"
    assert [part_prefix(data, role) for role in roles_of(data)] == ["test/", "train/", "extra/"]


def test_parts_of_tensorflow_datasets_differ_in_their_splits() -> None:
    data = load_config("stl10").data
    splits = [part_config(data, role).split for role in roles_of(data)]
    assert splits == ["test", "train", "unlabelled"]
    assert {part_config(data, role).path for role in roles_of(data)} == {"stl10"}
    assert part_prefix(data, "test") == "", "their names hold the split already"


def test_without_parts_names_stay_as_they_are() -> None:
    data = _config(data__source="folder", data__path="a").data
    assert roles_of(data) == ("train",)
    assert part_config(data, "train") == data
    assert part_prefix(data, "train") == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data.protocol": "split"}, "data.protocol: .*reports on test images"),
        ({"data.test_split": "test"}, "data.test_split, data.source: belongs to .*tfds"),
        ({"data.source": "tfds", "data.path": "x", "data.test_path": "y"}, "data.test_path, "),
        ({"data.source": "folder", "data.path": "x", "data.test_path": "x"}, "the same images"),
        ({"data.source": "tfds", "data.path": "x", "data.extra_split": "train"}, "the same images"),
        ({"data.deduplicate": True}, "data.deduplicate: .*needs both parts"),
        ({"semi.use_extra": True}, "semi.use_extra: there are no extra images"),
        ({"data.classes": "imagenet10"}, "data.classes, data.source: "),
        ({"data.label_key": "coarse_label"}, "data.label_key, data.source: "),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(overrides=options)

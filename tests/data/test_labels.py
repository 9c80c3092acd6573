from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.data.labels import (
    ANNOTATIONS,
    Labels,
    array_labels,
    digits_labels,
    folder_labels,
    has_array_labels,
    joined_labels,
)
from spice_keras.errors import UserError

IMAGES = np.zeros((4, 2, 2), np.uint8)


def test_digits() -> None:
    labels = digits_labels()
    assert labels.values.dtype == np.int32
    assert labels.values.shape == (1797,)
    assert labels.class_names == tuple("0123456789")
    some = digits_labels(["digits/0003", "digits/0001"])
    assert some.values.tolist() == [3, 1]
    with pytest.raises(UserError, match=r"1 of 1 items .* digits/1797"):
        digits_labels(["digits/1797"])


def test_folders() -> None:
    labels = folder_labels(["dog/1.png", "cat/a/1.png", "dog/2.png"])
    assert labels.values.tolist() == [1, 0, 1]
    assert labels.values.dtype == np.int32
    assert labels.class_names == ("cat", "dog")


def test_a_list_beside_the_images_names_their_classes(tmp_path: Path) -> None:
    """Tiny-ImageNet's validation images lie in one folder."""
    lines = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (tmp_path / ANNOTATIONS).write_text(lines)
    labels = folder_labels(["images/val_1.JPEG", "images/val_0.JPEG"], tmp_path)
    assert labels.class_names == ("n01", "n02")
    assert labels.values.tolist() == [0, 1]
    with pytest.raises(UserError, match=r"1 of 2 images are not in .* images/val_7\.JPEG"):
        folder_labels(["images/val_0.JPEG", "images/val_7.JPEG"], tmp_path)


def test_parts_share_their_classes() -> None:
    first = Labels(np.array([1, 0], np.int32), ("b", "a"))
    same = Labels(np.array([1], np.int32), ("b", "a"))
    joined = joined_labels([first, same])
    assert (joined.values.tolist(), joined.class_names) == ([1, 0, 1], ("b", "a"))
    other = Labels(np.array([0, 1], np.int32), ("b", "c"))
    joined = joined_labels([first, other])
    assert joined.class_names == ("a", "b", "c")
    assert [joined.class_names[value] for value in joined.values] == ["a", "b", "b", "c"]
    assert joined.values.dtype == np.int32


def test_folders_need_a_class_for_each_image() -> None:
    with pytest.raises(UserError, match=r"1 of 2 lie in none, the first is 1\.png"):
        folder_labels(["1.png", "cat/1.png"])


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (np.array([7, 3, 7, 9]), ("3", "7", "9")),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c")),
        (np.array([b"b", b"a", b"b", b"c"]), ("a", "b", "c")),
    ],
)
def test_arrays(tmp_path: Path, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels, ids=np.array(list("wxyz")))
    found = array_labels(tmp_path / "x.npz")
    assert found.values.tolist() == [1, 0, 1, 2]
    assert found.values.dtype == np.int32
    assert found.class_names == class_names
    # An image may have been skipped.
    assert array_labels(str(tmp_path / "x.npz"), ["z", "x"]).values.tolist() == [2, 0]
    with pytest.raises(UserError, match="the first is q"):
        array_labels(tmp_path / "x.npz", ["q"])


def test_arrays_without_fitting_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    assert not has_array_labels(tmp_path / "x.npy")
    with pytest.raises(UserError, match='no "labels"'):
        array_labels(tmp_path / "x.npy")
    for labels in (np.arange(3), np.ones(4), np.zeros((4, 1), int)):
        np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels)
        assert has_array_labels(tmp_path / "x.npz")
        with pytest.raises(UserError, match="must be 4 integers or strings"):
            array_labels(tmp_path / "x.npz")

"""True classes: numbered in sorted order, and what is unknown is no class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.data.array_source import ArraySource
from spice_keras.data.digits_source import DigitsSource
from spice_keras.data.embedding_source import EmbeddingSource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.labels import ANNOTATIONS, Labels, joined_labels, named_labels
from spice_keras.data.sources import SourceOptions
from spice_keras.errors import UserError

IMAGES = np.zeros((4, 2, 2), np.uint8)
ROWS = ["0000000", "0000001", "0000002", "0000003"]


def _folder(ids: list[str], directory: Path) -> Labels:
    return FolderSource.read_labels(SourceOptions(str(directory)), ids)


def _array(path: Path, ids: list[str]) -> Labels | None:
    return ArraySource.read_labels(SourceOptions(str(path)), ids)


def test_digits() -> None:
    ids = [f"digits/{row:04d}" for row in range(1797)]
    labels = DigitsSource.read_labels(SourceOptions(), ids)
    assert labels.values.dtype == np.int32
    assert labels.values[:11].tolist() == [*range(10), 0]
    assert labels.class_names == tuple("0123456789")
    some = DigitsSource.read_labels(SourceOptions(), ["digits/0003", "digits/0001"])
    assert some.values.tolist() == [3, 1]
    with pytest.raises(UserError, match=r"1 of 1 items .* digits/1797"):
        DigitsSource.read_labels(SourceOptions(), ["digits/1797"])


def test_folders(tmp_path: Path) -> None:
    labels = _folder(["dog/1.png", "cat/a/1.png", "dog/2.png", "-1/3.png"], tmp_path)
    assert labels.values.tolist() == [1, 0, 1, -1]
    assert labels.values.dtype == np.int32
    assert labels.class_names == ("cat", "dog")


def test_a_list_beside_the_images_names_their_classes(tmp_path: Path) -> None:
    """Tiny-ImageNet's validation images lie in one folder."""
    lines = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\nval_2.JPEG\t\t0\t0\t9\t9\n"
    (tmp_path / ANNOTATIONS).write_text(lines)
    names = ["images/val_1.JPEG", "images/val_0.JPEG", "images/val_2.JPEG"]
    labels = _folder(names, tmp_path)
    assert labels.class_names == ("n01", "n02")
    assert labels.values.tolist() == [0, 1, -1]
    with pytest.raises(UserError, match=r"1 of 2 images are not in .* images/val_7\.JPEG"):
        _folder(["images/val_0.JPEG", "images/val_7.JPEG"], tmp_path)


def test_folders_need_a_class_for_each_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 of 2 .* the first is 1\.png\. .*--labels none"):
        _folder(["1.png", "cat/1.png"], tmp_path)


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


def test_what_is_unknown_in_a_part_stays_unknown_among_all() -> None:
    first = Labels(np.array([-1, 1, 0], np.int32), ("b", "a"))
    other = Labels(np.array([0, -1], np.int32), ("c",))
    joined = joined_labels([first, other])
    assert joined.class_names == ("a", "b", "c")
    assert joined.values.tolist() == [-1, 0, 1, 2, -1]
    nothing = Labels(np.array([-1, -1], np.int32), ())
    joined = joined_labels([first, nothing])
    assert (joined.values.tolist(), joined.class_names) == ([-1, 1, 0, -1, -1], ("b", "a"))
    assert joined_labels([nothing, nothing]).num_unknown == 4


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (np.array([7, 3, 7, 9]), ("3", "7", "9")),
        (np.array([7.0, 3.0, 7.0, 9.0]), ("3", "7", "9")),
        (np.array([2, 1, 2, 10], np.uint8), ("1", "2", "10")),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c")),
        (np.array([b"b", b"a", b"b", b"c"]), ("a", "b", "c")),
    ],
)
def test_arrays(tmp_path: Path, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels, ids=np.array(list("wxyz")))
    found = _array(tmp_path / "x.npz", list("wxyz"))
    assert found is not None
    assert found.values.tolist() == [1, 0, 1, 2]
    assert found.values.dtype == np.int32
    assert found.class_names == class_names
    assert found.num_unknown == 0
    # An image may have been skipped.
    some = _array(tmp_path / "x.npz", ["z", "x"])
    assert some is not None
    assert some.values.tolist() == [2, 0]
    with pytest.raises(UserError, match="the first is q"):
        _array(tmp_path / "x.npz", ["q"])


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (np.array([5, -1, 3, -1]), ("3", "5")),
        (np.array([5, -1, 3, -1], np.int8), ("3", "5")),
        (np.array([5.0, np.nan, 3.0, -1.0]), ("3", "5")),
        (np.array(["b", "", "a", "-1"]), ("a", "b")),
        (np.array([b"b", b"", b"a", b"-1"]), ("a", "b")),
        # As the advice on object arrays saves them.
        (np.array(["b", None, "a", np.nan], object).astype(str), ("a", "b")),
    ],
    ids=["int64", "int8", "float", "text", "bytes", "objects as text"],
)
@pytest.mark.parametrize("source", [ArraySource, EmbeddingSource])
def test_an_unknown_label_is_no_class(
    tmp_path: Path, labels: np.ndarray, class_names: tuple[str, ...], source: type
) -> None:
    arrays = {"images": IMAGES} if source is ArraySource else {"features": np.eye(4)}
    np.savez(tmp_path / "x.npz", labels=labels, **arrays)
    found = source.read_labels(SourceOptions(str(tmp_path / "x.npz")), ROWS)
    assert found.values.tolist() == [1, -1, 0, -1]
    assert found.class_names == class_names
    assert found.num_unknown == 2


def test_other_negative_numbers_and_names_are_classes() -> None:
    assert named_labels(np.array([-2, 0, -1])) == (pytest.approx([0, 1, -1]), ("-2", "0"))
    assert named_labels(np.array(["none", "NaN", "?"])).class_names == ("?", "NaN", "none")


def test_arrays_of_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.array([None, "a", "b", "a"], object))
    with pytest.raises(UserError, match=r"never loaded.*array\.astype\(str\)"):
        _array(tmp_path / "x.npz", ROWS)


def test_files_without_labels_have_none(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    assert _array(tmp_path / "x.npy", ROWS) is None
    np.savez(tmp_path / "x.npz", features=np.eye(4))
    assert EmbeddingSource.read_labels(SourceOptions(str(tmp_path / "x.npz")), ROWS) is None


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.arange(3), r"shape=\(3,\), dtype=int64"),
        (np.zeros((4, 1), int), r"shape=\(4, 1\)"),
        (np.array([0.0, 0.5, 1.0, np.nan]), "dtype=float64, with fractions"),
        (np.array([0.0, np.inf, 1.0, 1.0]), "dtype=float64, with fractions"),
        (np.ones(4, complex), "dtype=complex128"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, labels: np.ndarray, received: str
) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels)
    expected = rf"must be 4 whole numbers or strings.* {received}.*--labels none"
    with pytest.raises(UserError, match=expected):
        _array(tmp_path / "x.npz", ROWS)

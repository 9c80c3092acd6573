"""Ground-truth labels, read by the evaluation alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spice_keras.data.array_source import array_ids, read_array
from spice_keras.data.embedding_source import embeddings_shape
from spice_keras.data.sources import digits_id
from spice_keras.data.tfds_source import prepared_builder, split_feature, tfds_ids
from spice_keras.errors import UserError

ANNOTATIONS = "val_annotations.txt"


class Labels(NamedTuple):
    """True classes of a list of items.

    Attributes:
        values: int32 [N], in 0..C-1.
        class_names: the names of the C classes.
    """

    values: np.ndarray
    class_names: tuple[str, ...]


def digits_labels(ids: Sequence[str] | None = None) -> Labels:
    """Which digit each image shows.

    Args:
        ids: the items wanted, in this order; None for all.

    Returns:
        The labels of those items.

    Raises:
        UserError: when an id is not of this source.
    """
    from sklearn.datasets import load_digits

    values = load_digits().target
    every_id = [digits_id(row) for row in range(len(values))]
    return Labels(_of(ids, every_id, values), tuple(str(digit) for digit in range(10)))


def folder_labels(ids: Sequence[str], directory: str | Path | None = None) -> Labels:
    """The first sub-folder of each item, as its class; or what Tiny-ImageNet's list says.

    Args:
        ids: of a folder source: paths below the folder, with forward slashes.
        directory: the folder; where it holds a `val_annotations.txt`, a line "file, tab, class"
            for each file, that names the classes.

    Returns:
        The labels of those items; the classes are sorted.

    Raises:
        UserError: when an item lies in no sub-folder, or is not in the list.
    """
    annotations = None if directory is None else Path(directory) / ANNOTATIONS
    if annotations is not None and annotations.is_file():
        return _annotated(ids, annotations)
    loose = [name for name in ids if "/" not in name]
    if loose:
        raise UserError(
            f"Labels from folders need every image in a sub-folder named after its class; "
            f"{len(loose)} of {len(ids)} lie in none, the first is {loose[0]}. "
            "Move them, or evaluate without labels."
        )
    return _from_names(np.array([name.split("/", 1)[0] for name in ids]))


def _annotated(ids: Sequence[str], path: Path) -> Labels:
    """Labels from a list of file names and classes, separated by tabs."""
    lines = path.read_text("utf-8", "surrogateescape").splitlines()
    known = dict(line.split("\t")[:2] for line in lines if "\t" in line)
    names = [known.get(name.rsplit("/", 1)[-1]) for name in ids]
    if None in names:
        raise UserError(
            f"{names.count(None)} of {len(ids)} images are not in {path}; the first is "
            f"{ids[names.index(None)]}. Complete the list, or evaluate without labels."
        )
    return _from_names(np.array(names))


def joined_labels(parts: Sequence[Labels]) -> Labels:
    """Labels of several parts of a data set as one, with the classes of all of them.

    Args:
        parts: the labels, part by part.

    Returns:
        The labels in the same order. Where the parts name different classes, all are sorted.
    """
    names = parts[0].class_names
    if any(part.class_names != names for part in parts):
        names = tuple(sorted({name for part in parts for name in part.class_names}))
    number = {name: row for row, name in enumerate(names)}
    values = [
        np.array([number[name] for name in part.class_names], np.int32)[part.values]
        for part in parts
    ]
    return Labels(np.concatenate(values), names)


def has_array_labels(path: str | Path) -> bool:
    """Tell whether a NumPy file, of images or of embeddings, holds "labels"."""
    return read_array(Path(path), "labels") is not None


def array_labels(path: str | Path, ids: Sequence[str] | None = None) -> Labels:
    """The array "labels" of an .npz file.

    Args:
        path: the file that also holds the images.
        ids: the items wanted, in this order; None for all.

    Returns:
        The labels of those items. Integers and strings are both numbered in sorted order.

    Raises:
        UserError: when there are no labels, they do not match the images, or an id is unknown.
    """
    path = Path(path)
    images, labels = read_array(path, "images"), read_array(path, "labels")
    if images is None or labels is None:
        raise UserError(
            f'{path} holds no "labels" beside its "images". '
            "Save both: np.savez(file, images=..., labels=...)."
        )
    return _of_rows(path, labels, ids, len(images), noun="image")


def embedding_labels(path: str | Path, ids: Sequence[str] | None = None) -> Labels:
    """The array "labels" of a file of embeddings.

    Args:
        path: the .npz file that also holds the embeddings.
        ids: the items wanted, in this order; None for all.

    Returns:
        The labels of those items. Integers and strings are both numbered in sorted order.

    Raises:
        UserError: when there are no labels, they do not match the rows, or an id is unknown.
    """
    path = Path(path)
    num_rows, _ = embeddings_shape(path)
    labels = read_array(path, "labels")
    if labels is None:
        raise UserError(
            f'{path} holds no "labels" beside its embeddings. '
            "Save both: np.savez(file, features=..., labels=...)."
        )
    return _of_rows(path, labels, ids, num_rows, noun="row")


def tfds_labels(
    name: str,
    split: str,
    data_dir: str | Path | None,
    ids: Sequence[str] | None = None,
    *,
    feature: str = "label",
) -> Labels:
    """One class-label feature of a split from TensorFlow Datasets.

    Args:
        name: as TensorFlow Datasets has it.
        split: as TensorFlow Datasets has it.
        data_dir: where prepared data sets lie; None for TensorFlow Datasets' own place.
        ids: the items wanted, in this order; None for all.
        feature: name of the feature, for example "coarse_label" for CIFAR-100-20.

    Returns:
        The labels of those items.

    Raises:
        UserError: when the data cannot be had, has no such labels, or an id is unknown.
    """
    builder = prepared_builder(name, data_dir)
    rows = split_feature(builder, split, feature)
    class_names = getattr(builder.info.features[feature], "names", None)
    if class_names is None:
        raise UserError(f"The feature {feature!r} of {name!r} holds no class labels.")
    values = np.array(list(rows.as_numpy_iterator()), np.int64)
    if (values < 0).any():
        raise UserError(f"The split {split!r} of {name!r} has no labels.")
    selected = _of(ids, tfds_ids(name, split, len(values)), values)
    return Labels(selected, tuple(class_names))


def _of_rows(
    path: Path, labels: np.ndarray, ids: Sequence[str] | None, num_rows: int, *, noun: str
) -> Labels:
    """Labels of the rows wanted of a NumPy file, refused where they do not fit the rows."""
    if labels.shape != (num_rows,) or labels.dtype.kind not in "iuUS":
        raise UserError(
            f'The "labels" of {path} must be {num_rows} integers or strings, one for each {noun}. '
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    named = _from_names(labels)
    return named._replace(values=_of(ids, array_ids(path, num_rows, noun), named.values))


def _from_names(names: np.ndarray) -> Labels:
    """Number the different names in sorted order."""
    classes, values = np.unique(names, return_inverse=True)
    return Labels(values.astype(np.int32), tuple(str(name) for name in classes.tolist()))


def _of(ids: Sequence[str] | None, every_id: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Values of the items wanted, in their order, as int32."""
    values = np.asarray(values, np.int32)
    if ids is None:
        return values
    rows = {name: row for row, name in enumerate(every_id)}
    unknown = [name for name in ids if name not in rows]
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(ids)} items are not in the data the labels come from; the "
            f"first is {unknown[0]}. Evaluate with the data the run was made from."
        )
    return values[[rows[name] for name in ids]]

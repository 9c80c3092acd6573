"""True classes of items: how they are numbered, and what counts as unknown.

A source reads labels in its method `read_labels`, with the functions of this file; they are used
nowhere else. Only `spice_keras.stages.labels` calls that method, for the evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spice_keras.errors import UserError

ANNOTATIONS = "val_annotations.txt"
UNKNOWN = -1
"""The label of an item whose class is unknown; no class has this number."""
# What NumPy makes of -1, None and NaN when they are saved as text.
_UNKNOWN_NAMES = frozenset({"", "-1", "None", "nan"})


class Labels(NamedTuple):
    """True classes of a list of items.

    Attributes:
        values: int32 [N], in 0..C-1, or -1 if the class of the item is unknown.
        class_names: the names of the C classes.
    """

    values: np.ndarray
    class_names: tuple[str, ...]

    @property
    def num_unknown(self) -> int:
        """Number of items of unknown class."""
        return int((self.values == UNKNOWN).sum())


def named_labels(names: np.ndarray) -> Labels:
    """Number the different names in sorted order.

    Args:
        names: [N] strings, integers, or whole floating-point numbers. -1, NaN, and the strings
            "", "-1", "None" and "nan" mean that the class is unknown.

    Returns:
        The labels. What means unknown is no class and has the value -1.
    """
    classes, rows = np.unique(names, return_inverse=True)
    texts = [_text(name) for name in classes.tolist()]
    known = np.array([text not in _UNKNOWN_NAMES for text in texts], bool)
    numbers = np.where(known, np.cumsum(known) - 1, UNKNOWN).astype(np.int32)
    return Labels(numbers[rows], tuple(np.array(texts)[known].tolist()))


def _text(name: str | int | float) -> str:
    """Write a class as text; whole numbers without a fraction."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def column_labels(
    column: np.ndarray, every_id: Sequence[str], ids: Sequence[str], origin: str | Path
) -> Labels:
    """Labels that a file holds as one array, a row for each item.

    Args:
        column: the array; strings or whole numbers, as `named_labels` takes them.
        every_id: ids of its M rows.
        ids: the N items wanted, in this order.
        origin: the file, for messages.

    Returns:
        The labels of those items. The classes are those of all M rows.

    Raises:
        UserError: if the array has another shape or type, or an id is not in it.
    """
    fractions = column.dtype.kind == "f" and not _is_whole(column)
    if column.shape != (len(every_id),) or column.dtype.kind not in "iufUS" or fractions:
        raise UserError(
            f'The "labels" of {origin} must be {len(every_id)} whole numbers or strings, one for '
            f"each item. Received: shape={column.shape}, dtype={column.dtype}"
            f"{', with fractions' if fractions else ''}. Save one label for each item, or run "
            "without labels (--labels none)."
        )
    if column.dtype.kind == "S":
        column = np.char.decode(column, "utf-8", "replace")
    named = named_labels(column)
    return named._replace(values=values_of(ids, every_id, named.values))


def _is_whole(column: np.ndarray) -> bool:
    """Whether all numbers are whole ones or NaN."""
    return bool((np.isnan(column) | (np.isfinite(column) & (np.floor(column) == column))).all())


def values_of(ids: Sequence[str], every_id: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Pick the values of some items.

    Args:
        ids: the N items wanted, in this order.
        every_id: ids of all M items.
        values: [M] their numbers; below 0 if the class is unknown.

    Returns:
        int32 [N], with -1 where the class is unknown.

    Raises:
        UserError: if an id is not among all.
    """
    rows = {name: row for row, name in enumerate(every_id)}
    missing = [name for name in ids if name not in rows]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(ids)} items are not in the data the labels come from; the "
            f"first is {missing[0]}. Evaluate with the data the run was made from."
        )
    picked = np.asarray(values, np.int32)[[rows[name] for name in ids]]
    return np.maximum(picked, np.int32(UNKNOWN))


def folder_labels(ids: Sequence[str], directory: str | Path) -> Labels:
    """Take the first sub-folder of each item as its class; or what Tiny-ImageNet's list says.

    Args:
        ids: of a folder source: paths below the folder, with forward slashes.
        directory: the folder. If it holds a `val_annotations.txt`, with a line "file, tab, class"
            for each file, that names the classes.

    Returns:
        The labels of those items; the classes are sorted.

    Raises:
        UserError: if an item lies in no sub-folder, or is not in the list.
    """
    annotations = Path(directory) / ANNOTATIONS
    if annotations.is_file():
        return _annotated(ids, annotations)
    loose = [name for name in ids if "/" not in name]
    if loose:
        raise UserError(
            "Labels from folders need every image in a sub-folder named after its class. "
            f"Received: {len(loose)} of {len(ids)} images outside of sub-folders, the first is "
            f"{loose[0]}. Move them, or run without labels (--labels none)."
        )
    return named_labels(np.array([name.split("/", 1)[0] for name in ids]))


def _annotated(ids: Sequence[str], path: Path) -> Labels:
    """Labels from a list of file names and classes, separated by tabs."""
    lines = path.read_text("utf-8", "surrogateescape").splitlines()
    known = dict(line.split("\t")[:2] for line in lines if "\t" in line)
    names = [known.get(name.rsplit("/", 1)[-1]) for name in ids]
    if None in names:
        raise UserError(
            f"{names.count(None)} of {len(ids)} images are not in {path}; the first is "
            f"{ids[names.index(None)]}. Complete the list, or run without labels (--labels none)."
        )
    return named_labels(np.array(names))


def joined_labels(parts: Sequence[Labels]) -> Labels:
    """Labels of several parts of a data set as one, with the classes of all of them.

    Args:
        parts: the labels, part by part; a part without any classes is unknown altogether.

    Returns:
        The labels in the same order. If the parts name different classes, all are sorted.
    """
    named = [part.class_names for part in parts if part.class_names] or [()]
    names = named[0]
    if any(others != names for others in named):
        names = tuple(sorted({name for others in named for name in others}))
    number = {name: row for row, name in enumerate(names)}
    values = []
    for part in parts:
        # The last one is what -1 points at.
        numbers = np.array([*(number[name] for name in part.class_names), UNKNOWN], np.int32)
        values.append(numbers[part.values])
    return Labels(np.concatenate(values), names)

"""Sources of items: what each one is asked, and how it is found by its name."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, Self, runtime_checkable

import numpy as np

from spice_keras.data.labels import Labels
from spice_keras.options import SOURCES, Fit

# Control characters, lone surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class SkippedFile:
    """An item that gave no image.

    Attributes:
        path: the item's id, or the path of a folder that could not be read.
        reason: why, in a few words for the user.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Decoded:
    """An item that gave an image.

    Attributes:
        id: unique in its source, one line, writable as UTF-8.
        image: uint8 RGB [S, S, 3].
    """

    id: str
    image: np.ndarray


@dataclass(frozen=True)
class SourceOptions:
    """What a source is opened with: the configuration of one part. Each takes what it needs.

    Attributes:
        path: the folder, file or name of the data set.
        split: of a data set that comes in splits.
        data_dir: where prepared data sets lie; None for their own place.
        classes: the sub-folders to read; None for everything.
        label_key: name of the feature that holds the class.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        max_pixels: width times height from which on an image is skipped.
        value_range: what is black and white in images of more than eight bits; None to find out.
        sample: rows to draw from embeddings in shards; None for all.
    """

    path: str = ""
    split: str = "train"
    data_dir: str | None = None
    classes: tuple[str, ...] | None = None
    label_key: str = "label"
    image_size: int = 32
    fit: Fit = "crop"
    max_pixels: int = 100_000_000
    value_range: tuple[float, float] | None = None
    sample: int | None = None


class DataSource(ABC):
    """A finite, ordered supply of items: images (`ImageSource`), or rows of embeddings.

    `spice_keras.options.SOURCES` names the class. What it opens gives items alone. Labels come
    from `read_labels`, a method of the class, so that nothing that trains holds them.
    """

    @classmethod
    @abstractmethod
    def open(cls, options: SourceOptions) -> Self:
        """Open the data. Nothing is decoded, and nothing is downloaded.

        Raises:
            UserError: if the data is missing or of another kind.
        """

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are, those that will be skipped included."""

    def count(self) -> int | None:
        """How many items there are, if that is known at once; None if data must be prepared."""
        return len(self)

    def check_labels(self) -> None:  # noqa: B027  (most sources know only by reading)
        """Refuse a source that cannot have labels, before anything is decoded. It reads none.

        Raises:
            UserError: if there can be none.
        """

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """Read the true classes of some items, for the evaluation alone.

        Args:
            options: as for `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels, with -1 where the class is unknown; None if the data has no labels.

        Raises:
            UserError: if the labels do not fit the items.
        """
        return None


@runtime_checkable
class ImageSource(Protocol):
    """A source whose items are images.

    Attributes:
        image_size: side S of the images given, in pixels.
    """

    image_size: int

    def __len__(self) -> int:
        """How many items `items` gives, skipped ones included."""

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every item once, in an order that is the same at each call."""


def source_class(name: str) -> type[DataSource]:
    """Find the class of a source, which is imported now.

    Args:
        name: a name of `spice_keras.options.SOURCES`.

    Returns:
        The class.

    Raises:
        TypeError: if what is registered is not a `DataSource`.
    """
    module, _, attribute = SOURCES[name].opened_by.partition(":")
    found = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, DataSource)):
        raise TypeError(
            f"The source {name!r} must be a subclass of spice_keras.data.sources.DataSource. "
            f"Received: {found!r}"
        )
    return found


def one_line_id(name: str) -> str:
    """Id of a named item: one line, writable as UTF-8, different for different names.

    Args:
        name: a file name or path as the system gives it, perhaps with line breaks or with bytes
            that are not UTF-8 (which Python holds as lone surrogates).

    Returns:
        The name with those characters, and the backslash itself, as backslash escapes.
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if char == "\\" or unicodedata.category(char) in _ESCAPED
        else char
        for char in name
    )

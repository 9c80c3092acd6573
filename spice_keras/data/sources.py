"""Where images come from: what every source gives, and the digits that ship with scikit-learn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spice_keras.data.decoding import resize_image

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


class ImageSource(Protocol):
    """A finite, ordered supply of images; it never gives labels.

    Attributes:
        image_size: side S of the images given, in pixels.
    """

    image_size: int

    def __len__(self) -> int:
        """How many items `items` gives, skipped ones included."""

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every item once, in an order that is the same at each call."""


def one_line_id(name: str) -> str:
    """Id of a named item: one line, writable as UTF-8, different for different names.

    Args:
        name: a file name or path as the system gives it, perhaps with line breaks or with bytes
            that are no UTF-8 (which Python holds as lone surrogates).

    Returns:
        The name with those characters, and the backslash itself, as backslash escapes.
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if char == "\\" or unicodedata.category(char) in _ESCAPED
        else char
        for char in name
    )


def digits_id(row: int) -> str:
    """Id of one digit: its row in scikit-learn's data set."""
    return f"digits/{row:04d}"


class DigitsSource:
    """The 1,797 handwritten digits of 8x8 pixels inside scikit-learn; needs no download.

    Args:
        image_size: side S of the images given, in pixels.
    """

    def __init__(self, image_size: int) -> None:
        from sklearn.datasets import load_digits

        self.image_size = image_size
        # The pixels are grey levels 0..16.
        grey = load_digits().images * (255.0 / 16.0)
        self._images = np.rint(grey).astype(np.uint8)

    def __len__(self) -> int:
        return len(self._images)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every digit, in scikit-learn's order."""
        for row, grey in enumerate(self._images):
            image = resize_image(grey, self.image_size, fit="stretch")
            yield Decoded(digits_id(row), image)

"""Images from a NumPy file; Python objects (pickle) inside it are never loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from spice_keras.data.array_file import ArrayFile, open_array_file
from spice_keras.data.decoding import resize_image
from spice_keras.data.deep_pixels import eight_bits
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.npy_stream import NpyHeader
from spice_keras.data.sources import (
    DataSource,
    Decoded,
    SkippedFile,
    SourceOptions,
    one_line_id,
)
from spice_keras.data.undecodable import UndecodableImage
from spice_keras.errors import UserError
from spice_keras.options import Fit

_WHAT = "images"
_ADVICE = (
    "Save the images again: np.savez(file, images=...). Names are saved as text by "
    "array.astype(str)."
)
# A last axis of at most so many, behind two sides of at least so many, is one picture's colours.
_MOST_CHANNELS, _LEAST_SIDE = 4, 8


def read_array(path: Path, key: str) -> np.ndarray | None:
    """One array of a NumPy file.

    Args:
        path: an .npz file, or an .npy file, whose one array counts as "images".
        key: name of the array; "images" is also the only array of an .npz file that has one.

    Returns:
        The array, memory-mapped where the file allows it; None when the file has none so named.

    Raises:
        UserError: when the file is missing or damaged, or holds Python objects.
    """
    with open_array_file(path, _WHAT, _ADVICE) as file:
        name = _name_of(file, key)
        return None if name is None else file.read(name)


def _name_of(file: ArrayFile, key: str) -> str | None:
    """The array that a key means."""
    if key in file.names:
        return key
    return file.names[0] if key == "images" and len(file.names) == 1 else None


def array_ids(path: Path, num_rows: int, noun: str = "image") -> list[str]:
    """Ids of the rows of a NumPy file.

    Args:
        path: an .npz or .npy file.
        num_rows: number of images (N) in it.
        noun: what a row is, for messages.

    Returns:
        The strings or integers under the key "ids" as N strings, or the row numbers.

    Raises:
        UserError: when "ids" has another length or type, or names a row twice.
    """
    ids = read_array(path, "ids")
    if ids is None:
        return [f"{row:07d}" for row in range(num_rows)]
    if ids.shape != (num_rows,) or ids.dtype.kind not in "USiu":
        raise UserError(
            f'The "ids" of {path} must be {num_rows} strings or integers, one for each {noun}. '
            f"Received: shape={ids.shape}, dtype={ids.dtype}"
        )
    if ids.dtype.kind == "S":
        names = [one_line_id(name.decode("utf-8", "surrogateescape")) for name in ids.tolist()]
    else:
        names = [one_line_id(str(name)) for name in ids.tolist()]
    if len(set(names)) != num_rows:
        twice, times = Counter(names).most_common(1)[0]
        raise UserError(
            f'The "ids" of {path} must differ from one another. Received: {twice} {times} times. '
            "Make them differ, or leave them out for row numbers."
        )
    return names


class ArraySource(DataSource):
    """Images from an .npy or .npz file.

    The images lie under the key "images" or are the only array: uint8, or floating-point in
    0..1, of shape [N, H, W], [N, H, W, 1] or [N, H, W, 3]. The key "ids" may name them. An
    archive is unpacked row by row, so that it never lies in memory whole.

    Args:
        path: the file.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        value_range: what is black and what is white, for floating-point images of another range
            and for whole numbers of more than 8 bits; None for 0..1, and uint8 alone.

    Raises:
        UserError: for a file, dtype or shape other than that.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int,
        fit: Fit,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.path = Path(path)
        self.image_size = image_size
        self.fit = fit
        self.value_range = value_range
        with open_array_file(self.path, _WHAT, _ADVICE) as file:
            name = _name_of(file, "images")
            if name is None:
                raise UserError(
                    f'{self.path} holds several arrays and none named "images", or none at all. '
                    "Name the images so when saving: np.savez(file, images=...)."
                )
            self._name, self._header = name, file.header(name)
        _check(self._header, self.path, value_range)
        self._ids = array_ids(self.path, len(self))

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Open the file `options.path`."""
        return cls(options.path, options.image_size, options.fit, options.value_range)

    def __len__(self) -> int:
        return self._header.shape[0]

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every row, in order; a row whose numbers are outside the range is skipped."""
        for name, image in zip(self._ids, self._rows(), strict=True):
            if image.dtype != np.uint8:
                # Written so that a NaN fails it as well.
                if self.value_range is None and not (image.min() >= 0 and image.max() <= 1):
                    yield SkippedFile(name, "floating-point pixels outside 0..1")
                    continue
                try:
                    image = eight_bits(image, self.value_range or (0.0, 1.0))
                except UndecodableImage as error:
                    yield SkippedFile(name, str(error))
                    continue
            yield Decoded(name, resize_image(image, self.image_size, self.fit))

    def _rows(self) -> Iterator[np.ndarray]:
        with open_array_file(self.path, _WHAT, _ADVICE) as file:
            yield from file.rows(self._name)

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """The array "labels" of the file.

        Args:
            options: those of `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels; None if the file has no "labels".

        Raises:
            UserError: if the labels do not match the images, or an id is unknown.
        """
        path = Path(options.path)
        labels = read_array(path, "labels")
        if labels is None:
            return None
        return column_labels(labels, cls.open(options)._ids, ids, path)


def _check(header: NpyHeader, path: Path, value_range: tuple[float, float] | None) -> None:
    """Refuse arrays that are not images, and say how to save them."""
    shape, dtype = header.shape, header.dtype
    if dtype.hasobject:
        raise UserError(
            f"{path} holds Python objects (pickle), which are never loaded. Save numbers: "
            "np.savez(file, images=np.stack(images))."
        )
    deep = dtype.kind == "f" or (dtype.kind in "iu" and value_range is not None)
    if dtype != np.uint8 and not deep:
        raise UserError(
            f"The images of {path} must be uint8, or floating-point in 0..1. "
            f"Received: dtype={dtype}. Convert them before saving, or state what is black and "
            "what is white of whole numbers, data.range=[0,65535] for one."
        )
    if len(shape) not in (3, 4) or 0 in shape or shape[3:] not in ((), (1,), (3,)):
        raise UserError(
            f"The images of {path} must have a shape [N, H, W], [N, H, W, 1] or [N, H, W, 3], "
            f"with no side of 0. Received: shape={shape}"
        )
    if len(shape) == 3 and shape[2] <= _MOST_CHANNELS and min(shape[:2]) >= _LEAST_SIDE:
        raise UserError(
            f"The array of {path} looks like one picture [H, W, C], not like N pictures [N, H, W]. "
            f"Received: shape={shape}. Save a single picture as array[None], and pictures that "
            f"are {shape[2]} pixels wide as array[..., None]."
        )

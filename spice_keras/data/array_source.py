"""Images from a NumPy file; Python objects (pickle) inside it are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from spice_keras.data.decoding import resize_image
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.sources import (
    DataSource,
    Decoded,
    SkippedFile,
    SourceOptions,
    one_line_id,
)
from spice_keras.errors import UserError
from spice_keras.options import Fit

_ZIP_MAGIC = b"PK"


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
    if not path.is_file():
        raise UserError(f"There is no file {path}. Give an .npy or .npz file.")
    try:
        # Opened here, because NumPy leaves a damaged archive open.
        with path.open("rb") as file:
            if file.read(2) != _ZIP_MAGIC:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
                return array if key == "images" else None
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                names = archive.files
                if key == "images" and len(names) == 1:
                    return archive[names[0]]
                return archive[key] if key in names else None
    # zipfile raises a RuntimeError (NotImplementedError is one) for encrypted or unknown members.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read as an .npy or .npz file: it is damaged, encrypted, of another "
            f"kind, or holds Python objects (pickle), which are never loaded ({error}). "
            "Names are saved as text by array.astype(str)."
        ) from error


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
    0..1, of shape [N, H, W], [N, H, W, 1] or [N, H, W, 3]. The key "ids" may name them.

    Args:
        path: the file.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.

    Raises:
        UserError: for a file, dtype or shape other than that.
    """

    def __init__(self, path: str | Path, image_size: int, fit: Fit) -> None:
        self.path = Path(path)
        self.image_size = image_size
        self.fit = fit
        images = read_array(self.path, "images")
        if images is None:
            raise UserError(
                f'{self.path} holds several arrays and none named "images". '
                "Name the images so when saving: np.savez(file, images=...)."
            )
        _check(images, self.path)
        self._images = images
        self._ids = array_ids(self.path, len(images))

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Open the file `options.path`."""
        return cls(options.path, options.image_size, options.fit)

    def __len__(self) -> int:
        return len(self._images)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every row, in order; a floating-point row outside 0..1 is skipped."""
        for name, image in zip(self._ids, self._images, strict=True):
            if image.dtype != np.uint8:
                # Written so that a NaN fails it as well.
                if not (image.min() >= 0 and image.max() <= 1):
                    yield SkippedFile(name, "floating-point pixels outside 0..1")
                    continue
                image = np.rint(image.astype(np.float32) * 255.0).astype(np.uint8)
            yield Decoded(name, resize_image(image, self.image_size, self.fit))

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


def _check(images: np.ndarray, path: Path) -> None:
    """Refuse arrays that are not images, and say how to save them."""
    shape = images.shape
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UserError(
            f"The images of {path} must be uint8, or floating-point in 0..1. "
            f"Received: dtype={images.dtype}. Convert them before saving."
        )
    if images.ndim not in (3, 4) or 0 in shape or shape[3:] not in ((), (1,), (3,)):
        raise UserError(
            f"The images of {path} must have a shape [N, H, W], [N, H, W, 1] or [N, H, W, 3], "
            f"with no side of 0. Received: shape={shape}"
        )

"""Decoded images on disk: written once as one uint8 array, read into memory or mapped."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from spice_keras.data.sources import Decoded, ImageSource, SkippedFile
from spice_keras.errors import UserError


class TooManySkipped(UserError):
    """More items gave no image than allowed.

    Attributes:
        skipped: every one of them, to be listed in the run directory.
    """

    def __init__(self, message: str, skipped: tuple[SkippedFile, ...]) -> None:
        super().__init__(message)
        self.skipped = skipped


@dataclass(frozen=True)
class StoredImages:
    """What became of a source.

    Attributes:
        ids: of the stored images, row by row.
        skipped: items that gave no image.
        content_hash: SHA-256 (hex) of ids and pixels in order, the same wherever it is computed.
    """

    ids: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]
    content_hash: str


class NpyRowWriter:
    """Write an .npy file row by row, in constant memory; a context manager.

    The rows go to a file beside ``path`` that takes its name when all is well, so that ``path``
    is never half an array.

    Args:
        path: the .npy file to write.
        row_shape: shape of one row.
        dtype: element type of the rows.
    """

    def __init__(
        self, path: Path, row_shape: Sequence[int], dtype: type[np.generic] = np.uint8
    ) -> None:
        self.path = path
        self.row_shape = tuple(row_shape)
        self.dtype = np.dtype(dtype)
        self.num_rows = 0
        self._partial = path.with_name(path.name + ".partial")

    def __enter__(self) -> NpyRowWriter:
        self._file = self._partial.open("wb")
        self._write_header()
        self._header_length = self._file.tell()
        return self

    def append(self, row: np.ndarray) -> None:
        """Write one row.

        Args:
            row: array of the row shape and dtype.

        Raises:
            ValueError: for another shape or dtype.
        """
        if row.shape != self.row_shape or row.dtype != self.dtype:
            raise ValueError(
                f"Expected a row of shape {self.row_shape} and dtype {self.dtype}. "
                f"Received: shape={row.shape}, dtype={row.dtype}"
            )
        self._file.write(row.tobytes())
        self.num_rows += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink()

    def _write_header(self) -> None:
        """Write the header for the rows so far; NumPy pads it, so its length stays the same."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.num_rows, *self.row_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        if self.num_rows and self._file.tell() != self._header_length:
            raise ValueError(
                f"The header of an .npy file must keep its {self._header_length} bytes. "
                f"Received: {self._file.tell()} bytes for {self.num_rows} rows"
            )


def write_images(source: ImageSource, path: Path, *, max_skipped_share: float) -> StoredImages:
    """Decode a source once and store its images as one uint8 array [N, S, S, 3].

    Args:
        source: where the images come from.
        path: the .npy file to write; it appears only when all went well.
        max_skipped_share: share of the items, in 0..1, that may give no image.

    Returns:
        The ids, the skipped items and the content hash.

    Raises:
        TooManySkipped: when more items than that gave no image, or all of them.
    """
    ids: list[str] = []
    skipped: list[SkippedFile] = []
    digest = hashlib.sha256()
    with NpyRowWriter(path, (source.image_size, source.image_size, 3)) as writer:
        for item in source.items():
            if isinstance(item, SkippedFile):
                skipped.append(item)
                continue
            writer.append(item.image)
            ids.append(item.id)
            _update(digest, item)
        _check_skipped(skipped, len(ids), max_skipped_share)
    return StoredImages(tuple(ids), tuple(skipped), digest.hexdigest())


def open_images(path: Path, memory_limit_bytes: int) -> np.ndarray:
    """Open stored images: in memory when small, memory-mapped and read-only when large.

    Args:
        path: an .npy file that `write_images` wrote.
        memory_limit_bytes: files above this size are memory-mapped.

    Returns:
        uint8 [N, S, S, 3].

    Raises:
        UserError: when the file is missing or no whole .npy file.
    """
    try:
        large = path.stat().st_size > memory_limit_bytes
        return np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"The stored images {path} cannot be read ({error}). "
            "Delete the file and run the stage that writes it again."
        ) from error


def _update(digest: hashlib._Hash, item: Decoded) -> None:
    """Add one image to the content hash; the length keeps id and pixels apart."""
    name = item.id.encode()
    digest.update(len(name).to_bytes(8, "little"))
    digest.update(name)
    digest.update(item.image.tobytes())


def _check_skipped(skipped: list[SkippedFile], num_images: int, max_share: float) -> None:
    """Refuse to go on with too few of the items."""
    total = len(skipped) + num_images
    if num_images and len(skipped) <= max_share * total:
        return
    reasons = Counter(item.reason for item in skipped).most_common(3)
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    first = skipped[0].path if skipped else "none"
    allowed = math.floor(max_share * total)
    raise TooManySkipped(
        f"{len(skipped)} of {total} items gave no image; at most {allowed} may "
        f"(a share of {max_share:g}), and at least one must be left. "
        f"Most often: {listed or 'the source is empty'}. First: {first}. "
        "Remove or repair them, or raise the share that may be skipped.",
        tuple(skipped),
    )

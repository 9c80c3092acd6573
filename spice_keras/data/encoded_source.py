"""Sources of image files that lie somewhere as bytes: read by row, decoded ahead of their turn."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.levels import KnownLevels
from spice_keras.data.sources import DataSource, Decoded, SkippedFile, SourceOptions

EVERY_ROW = slice(None)
_THREADS = 4
# Items under way, per thread: enough that no thread waits for a slow one.
_WINDOW = 8


class EncodedImage(NamedTuple):
    """An image file, not decoded.

    Attributes:
        id: Of the item.
        data: The bytes of the file.
    """

    id: str
    data: bytes


class EncodedSource(DataSource):
    """A source whose items can be read by row, as the bytes of image files.

    Args:
        options: What it was opened with.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.image_size = options.image_size
        self._fit, self._max_pixels = options.fit, options.max_pixels
        self._levels = KnownLevels.stated(options.value_range)

    @abstractmethod
    def read(self, row: int) -> EncodedImage | SkippedFile:
        """Read one item.

        Args:
            row: From 0.

        Returns:
            Its bytes, or why they cannot be had.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """The files on this machine whose change would change the items."""

    def use_levels(self, levels: KnownLevels | None) -> None:
        """Decode pictures of more than eight bits with these levels.

        Args:
            levels: What is black and white in them; None leaves them as they are.
        """
        self._levels = self._levels if levels is None else levels

    def signature(self) -> str:
        """Name the state of the data: another after a file was added, removed or written.

        Returns:
            A SHA-256 of names, sizes and times.
        """
        digest = hashlib.sha256(str(len(self)).encode())
        for path in self.files():
            try:
                status = path.stat()
                facts = f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0"
            except OSError:
                facts = f"{path.name}\0missing\0"
            digest.update(facts.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def encoded(self, rows: slice = EVERY_ROW) -> Iterator[EncodedImage | SkippedFile]:
        """Yield some rows as they lie there, in order."""
        for row in range(*rows.indices(len(self))):
            yield self.read(row)

    def items(self, rows: slice = EVERY_ROW) -> Iterator[Decoded | SkippedFile]:
        """Yield some rows decoded, all unless stated, in order; a few are decoded ahead."""
        window: deque[Future[Decoded | SkippedFile]] = deque()
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        try:
            for row in range(*rows.indices(len(self))):
                window.append(pool.submit(self._decode, row))
                if len(window) >= _WINDOW * _THREADS:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _decode(self, row: int) -> Decoded | SkippedFile:
        found = self.read(row)
        if isinstance(found, SkippedFile):
            return found
        try:
            image = decode_image(
                found.data,
                image_size=self.image_size,
                fit=self._fit,
                max_pixels=self._max_pixels,
                levels=self._levels,
            )
        except UndecodableImage as error:
            return SkippedFile(found.id, str(error))
        return Decoded(found.id, image)

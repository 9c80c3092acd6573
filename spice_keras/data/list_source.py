"""Images that a text file lists: a path or address in each line, perhaps with a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from spice_keras.data.encoded_source import EncodedImage, EncodedSource
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.sources import SkippedFile, SourceOptions, one_line_id
from spice_keras.errors import UserError


class ListSource(EncodedSource):
    r"""The image files that a text file names, one a line.

    A line is a path, absolute or from the folder of the list, or an address that fsspec opens
    (`s3://...`, if the package for it is installed). What follows a tab is its class. Empty lines
    do not count. An item's id is its path or address as the line has it.

    Args:
        options: `path` names the text file.

    Raises:
        UserError: if the file is missing, empty, not UTF-8, or lists a path twice.
    """

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(options.path)
        lines = _lines(self.path)
        self._names = [line.partition("\t")[0] for line in lines]
        self._ids = [one_line_id(name) for name in self._names]
        self._classes = [line.partition("\t")[2].strip() for line in lines]
        twice, times = Counter(self._names).most_common(1)[0]
        if times > 1:
            raise UserError(f"{self.path} lists {twice} {times} times. List each image once.")

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Read the list `options.path`."""
        return cls(options)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, row: int) -> EncodedImage | SkippedFile:
        """Read the file that a line names."""
        return _read_file(self._ids[row], self._place(self._names[row]))

    def files(self) -> list[Path]:
        """The list, and the files of this machine that it names."""
        places = [self._place(name) for name in self._names]
        return [self.path, *(place for place in places if isinstance(place, Path))]

    def _place(self, name: str) -> Path | str:
        return name if "://" in name else self.path.parent / name

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """The classes behind the tabs.

        Args:
            options: those of `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels, -1 for a line without a class; None if no line has one.

        Raises:
            UserError: if an id is not in the list.
        """
        source = cls(options)
        if not any(source._classes):
            return None
        return column_labels(np.array(source._classes), source._ids, ids, source.path)


class FilesSource(EncodedSource):
    """Image files whose paths are known.

    Args:
        options: How they are decoded.
        files: Id and path of each.
    """

    def __init__(self, options: SourceOptions, files: Sequence[tuple[str, Path]]) -> None:
        super().__init__(options)
        self._files = list(files)

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Take the one file `options.path`."""
        return cls(options, [(one_line_id(options.path), Path(options.path))])

    def __len__(self) -> int:
        return len(self._files)

    def read(self, row: int) -> EncodedImage | SkippedFile:
        """Read a file."""
        return _read_file(*self._files[row])

    def files(self) -> list[Path]:
        """The files."""
        return [path for _, path in self._files]


def _lines(path: Path) -> list[str]:
    """The lines of a list that are not empty."""
    if not path.is_file():
        raise UserError(f"There is no file {path}. Give a text file that lists images.")
    try:
        lines = [line.strip("\r\n ") for line in path.read_text("utf-8").split("\n")]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} must be a text file in UTF-8, with the path of an image in each line. "
            f"Received: {error}"
        ) from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{path} lists no image. Write the path of an image into each line.")
    return lines


def _read_file(name: str, place: Path | str) -> EncodedImage | SkippedFile:
    """Read a file of this machine, or one that fsspec opens."""
    try:
        if isinstance(place, Path):
            if not place.is_file():
                return SkippedFile(name, "no such file, or not a regular file")
            return EncodedImage(name, place.read_bytes())
        import fsspec

        with fsspec.open(place, "rb") as file:
            return EncodedImage(name, file.read())
    # ImportError: the package for this kind of address; ValueError: a kind nobody knows.
    except (OSError, ImportError, ValueError) as error:
        return SkippedFile(name, f"cannot be read: {' '.join(str(error).split())}")

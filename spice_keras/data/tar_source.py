"""Images in tar shards, in WebDataset's layout."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from spice_keras.data.encoded_source import EncodedImage, EncodedSource
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.sources import SkippedFile, SourceOptions, one_line_id
from spice_keras.errors import UserError

IMAGE_ENDINGS = frozenset({"bmp", "gif", "jpg", "jpeg", "png", "ppm", "tif", "tiff", "webp"})
_CLASS = "cls"


class _Member(NamedTuple):
    """Where the bytes of a file lie in an archive."""

    archive: Path
    start: int
    size: int

    def read(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


class TarSource(EncodedSource):
    """Images in uncompressed tar archives as WebDataset lays them out.

    The files of an item share what comes before the first dot of their name: `cats/7.jpg` is the
    image and `cats/7.cls` the class of the item `cats/7`. Other files are passed over. Two
    archives may have items of the same name only if they are different archives: then the
    archive's name stands before it.

    Args:
        options: `path` is an archive, or a folder of archives, which are read in the order of
            their names.

    Raises:
        UserError: if there is no archive, one is damaged or compressed, or none holds an image.
    """

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(options.path)
        self._archives = shard_files(self.path, (".tar",), "tar archives")
        self._images: dict[str, _Member] = {}
        self._classes: dict[str, _Member] = {}
        for archive in self._archives:
            self._index(archive)
        if not self._images:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            raise UserError(
                f"{self.path} holds no image: no member of its archives ends in {endings}."
            )
        self._ids = list(self._images)

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Read the headers of the archives in `options.path`."""
        return cls(options)

    def _index(self, archive: Path) -> None:
        """Note where the members of an archive lie."""
        images: dict[str, _Member] = {}
        classes: dict[str, _Member] = {}
        try:
            with tarfile.open(archive, "r:") as members:
                for member in members:
                    folder, _, file = member.name.removeprefix("./").rpartition("/")
                    stem, _, ending = file.partition(".")
                    if not (member.isreg() and stem):
                        continue
                    key = one_line_id(f"{folder}/{stem}" if folder else stem)
                    place = _Member(archive, member.offset_data, member.size)
                    kind = ending.lower()
                    if kind in IMAGE_ENDINGS:
                        _add(images, key, place)
                    elif kind == _CLASS:
                        _add(classes, key, place)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(
                f"{archive} cannot be read as an uncompressed tar archive ({error}). Unpack a "
                "compressed one (.tar.gz) first: nothing can be read from its middle."
            ) from error
        prefix = f"{archive.name}/" if self._images.keys() & images.keys() else ""
        self._images |= {prefix + key: place for key, place in images.items()}
        self._classes |= {prefix + key: classes[key] for key in images if key in classes}

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, row: int) -> EncodedImage | SkippedFile:
        """Read the image of an item from its archive."""
        name = self._ids[row]
        member = self._images[name]
        try:
            data = member.read()
        except OSError as error:
            return SkippedFile(name, f"cannot be read: {error.strerror or error}")
        if len(data) < member.size:
            return SkippedFile(name, f"cut short: {member.archive.name} ends before it does")
        return EncodedImage(name, data)

    def files(self) -> list[Path]:
        """The archives."""
        return self._archives

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """The content of the `.cls` members.

        Args:
            options: those of `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels, -1 for an item without such a member; None if no item has one.

        Raises:
            UserError: if an id is unknown.
        """
        source = cls(options)
        if not source._classes:
            return None
        texts = [
            source._classes[name].read().decode("utf-8", "replace").strip()
            if name in source._classes
            else ""
            for name in source._ids
        ]
        return column_labels(np.array(texts), source._ids, ids, source.path)


def _add(members: dict[str, _Member], key: str, place: _Member) -> None:
    if key in members:
        raise UserError(
            f"{place.archive} has two files of one kind for the item {key}. Each item has one "
            "image and at most one class."
        )
    members[key] = place


def shard_files(path: Path, endings: tuple[str, ...], what: str) -> list[Path]:
    """List the shards that a path names.

    Args:
        path: A shard, or a folder of shards.
        endings: How their names end.
        what: What they are, for messages.

    Returns:
        The shards, sorted by name.

    Raises:
        UserError: if there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no file or folder {path}. Give a folder of {what}.")
    found = sorted(
        Path(entry.path)
        for entry in os.scandir(path)
        if entry.is_file() and not entry.name.startswith(".") and entry.name.endswith(endings)
    )
    if not found:
        raise UserError(f"The folder {path} has no {what} ({', '.join(endings)}).")
    return found

"""Images from a folder on disk, sub-folders included."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

from spice_keras.data.claims import claims_to_be_image
from spice_keras.data.decoding import decode_image, deep_extent
from spice_keras.data.labels import Labels, folder_labels
from spice_keras.data.levels import FolderLevels, KnownLevels
from spice_keras.data.pixel_budget import PixelBudget
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

# Decoded images waiting for their turn, per thread: enough that no thread waits for a slow file.
_WINDOW = 8


class FolderSource(DataSource):
    """Every file below a folder that claims to be an image: see `claims_to_be_image`.

    Others, such as a .json beside each photograph, are passed over, and so are hidden files and
    folders (a leading dot), run directories and SavedModels below it: what the program wrote is
    never its input. Links to folders are followed, each folder once. An item's id is its path
    below the folder, with forward slashes.

    Args:
        directory: the folder.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        max_pixels: width times height from which on a file is skipped.
        num_threads: files decoded at once. Together they decode at most `max_pixels` pixels at a
            time, or one file.
        classes: the sub-folders to read; None for everything.
        levels: what is black and white in pictures of more than eight bits; None to find out from
            all files. Public, so that several folders can share one.

    Raises:
        UserError: if the folder or a class is missing, is not a folder, cannot be read, or has no
            files.
    """

    def __init__(
        self,
        directory: str | Path,
        image_size: int,
        fit: Fit,
        max_pixels: int,
        num_threads: int = 4,
        classes: Sequence[str] | None = None,
        levels: KnownLevels | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.image_size = image_size
        self.fit = fit
        self.max_pixels = max_pixels
        self.num_threads = num_threads
        if not self.directory.is_dir():
            raise UserError(
                f"{self.directory} is not a folder. Give the folder that holds the images."
            )
        _check_classes(self.directory, classes or ())
        files, self._unreadable = _walk(self.directory, classes or ("",))
        if "" in self._unreadable:
            raise UserError(
                f"The folder {self.directory} cannot be read ({self._unreadable['']}). "
                "Give yourself the permission to list it."
            )
        listed = len(files)
        files = [name for name in files if claims_to_be_image(self.directory, name)]
        self._names = sorted([*files, *self._unreadable])
        self._budget = PixelBudget(max_pixels)
        self.levels: KnownLevels | FolderLevels = levels or FolderLevels(
            [self.directory / name for name in sorted(files)],
            partial(deep_extent, max_pixels=max_pixels, budget=self._budget),
            num_threads,
        )
        if listed and not self._names:
            raise UserError(
                f"The folder {self.directory} has {listed} files, and by their endings none is an "
                "image. Give the folder that holds the images."
            )
        if not self._names:
            raise UserError(
                f"The folder {self.directory} has no files (hidden ones do not count). "
                "Give the folder that holds the images."
            )

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """List the files below the folder `options.path`."""
        path, size, fit = options.path, options.image_size, options.fit
        levels = KnownLevels.stated(options.value_range)
        return cls(path, size, fit, options.max_pixels, classes=options.classes, levels=levels)

    def __len__(self) -> int:
        return len(self._names)

    def files(self) -> list[tuple[str, Path]]:
        """Id and path of every item, in the order of `items`."""
        return [(one_line_id(name), self.directory / name) for name in self._names]

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every file, in the order of the names; a few are decoded ahead of their turn."""
        window: deque[Future[Decoded | SkippedFile]] = deque()
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="decode")
        try:
            for name in self._names:
                window.append(pool.submit(self._item, name))
                if len(window) >= _WINDOW * self.num_threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels:
        """Take the first sub-folder of each image as its class; or what Tiny-ImageNet's list says.

        Args:
            options: those of `open`; a `val_annotations.txt` in `path` names the classes.
            ids: of the N items wanted, in this order.

        Returns:
            The labels.

        Raises:
            UserError: if an image lies in no sub-folder, or is not in the list.
        """
        return folder_labels(ids, options.path)

    def _item(self, name: str) -> Decoded | SkippedFile:
        """Decode one file, or say why not."""
        if name in self._unreadable:
            return SkippedFile(
                one_line_id(name), f"folder cannot be listed: {self._unreadable[name]}"
            )
        try:
            image = decode_image(
                self.directory / name,
                image_size=self.image_size,
                fit=self.fit,
                max_pixels=self.max_pixels,
                levels=self.levels,
                budget=self._budget,
            )
        except UndecodableImage as error:
            return SkippedFile(one_line_id(name), str(error))
        return Decoded(one_line_id(name), image)


def _check_classes(directory: Path, classes: Sequence[str]) -> None:
    """Refuse classes that are not sub-folders."""
    missing = [name for name in classes if not (directory / name).is_dir()]
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(classes)} classes are not sub-folders of {directory}: "
            f"{', '.join(missing)}. Give the folder that holds a sub-folder for each class."
        )


def _walk(directory: Path, starts: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Files below some sub-folders, and the folders that cannot be listed with the reason.

    Links wait until every real folder has been seen, so that a file keeps its real path, and a
    folder already seen is passed over, so that links in a circle end.
    """
    files: list[str] = []
    unreadable: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    real, linked = deque(starts), deque[str]()
    while real or linked:
        folder = real.popleft() if real else linked.popleft()
        try:
            status = (directory / folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(directory / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            unreadable[folder] = error.strerror or str(error)
            continue
        if folder and is_own_output({entry.name for entry in entries}):
            continue
        for entry in entries:
            if not entry.name.startswith("."):
                place = (linked if entry.is_symlink() else real) if _is_folder(entry) else files
                place.append(f"{folder}/{entry.name}" if folder else entry.name)
    return files, unreadable


def is_own_output(names: Set[str]) -> bool:
    """Tell whether a folder holds a run, ablations or a SavedModel: none of it is input.

    Args:
        names: What lies in the folder.
    """
    begun = {"config.yaml", "ablation.yaml"} & names
    return "saved_model.pb" in names or bool(
        begun and names & {"environment.json", "artifacts", "run.lock"}
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False

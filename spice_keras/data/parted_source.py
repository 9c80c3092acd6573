"""A data set in parts: test, train and unlabelled images, one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spice_keras.data.folder_source import FolderSource
from spice_keras.data.levels import FolderLevels, KnownLevels
from spice_keras.data.sources import Decoded, ImageSource, SkippedFile
from spice_keras.errors import UserError


@dataclass(frozen=True)
class Part:
    """One part of a data set.

    Attributes:
        role: what it is, "train" for one.
        source: where its images come from.
        prefix: what the ids of its items begin with, so that no two parts share an id.
    """

    role: str
    source: ImageSource
    prefix: str = ""


class PartedSource:
    """The items of several sources, part by part.

    Args:
        parts: the parts, in the order of the rows; all of one image size.
        duplicates_of: a role, or None. Items of "extra" whose pixels are those of an item of
            this part, which has to come before, are left out and counted. Pixels are compared as
            they are stored: decoded and resized, so that two files of one image are one.

    Attributes:
        counts: role to the images given, once `items` has run through.
        num_duplicates: images left out, likewise.
    """

    def __init__(self, parts: Sequence[Part], *, duplicates_of: str | None = None) -> None:
        self._parts = tuple(parts)
        self._duplicates_of = duplicates_of
        self.image_size = parts[0].source.image_size
        self.counts = {part.role: 0 for part in parts}
        self.num_duplicates = 0
        self._share_levels()

    def _share_levels(self) -> None:
        """Let folders agree on what is black and white in pictures of more than eight bits."""
        folders = [part.source for part in self._parts if isinstance(part.source, FolderSource)]
        unknown = [f.levels for f in folders if isinstance(f.levels, FolderLevels)]
        if len(unknown) > 1:
            shared = FolderLevels.together(unknown)
            for folder in folders:
                folder.levels = shared

    @property
    def levels(self) -> KnownLevels | None:
        """What was black and white in pictures of more than eight bits; None without any."""
        for part in self._parts:
            if isinstance(part.source, FolderSource):
                found = part.source.levels
                return found.found if isinstance(found, FolderLevels) else found
        return None

    def __len__(self) -> int:
        return sum(len(part.source) for part in self._parts)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every item of every part but the duplicates, in the parts' order."""
        self.counts = {part.role: 0 for part in self._parts}
        self.num_duplicates = 0
        known: set[bytes] = set()
        for part in self._parts:
            for item in part.source.items():
                if isinstance(item, SkippedFile):
                    yield SkippedFile(part.prefix + item.path, item.reason)
                elif self._is_duplicate(part.role, item.image, known):
                    self.num_duplicates += 1
                else:
                    self.counts[part.role] += 1
                    yield Decoded(part.prefix + item.id, item.image)

    def _is_duplicate(self, role: str, image: np.ndarray, known: set[bytes]) -> bool:
        """Whether an extra image is known; the images of the other part become known."""
        if self._duplicates_of is None or role not in (self._duplicates_of, "extra"):
            return False
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if role == "extra":
            return digest in known
        known.add(digest)
        return False

    def check_parts(self) -> None:
        """Refuse a part that gave no image.

        Raises:
            UserError: when one did not; call it once `items` has run through.
        """
        given = {**self.counts}
        if "extra" in given:
            given["extra"] += self.num_duplicates  # readable, and left out for another reason
        empty = [role for role, count in given.items() if not count]
        if empty:
            raise UserError(
                f"There are no readable {' and no '.join(empty)} images. Name data that has "
                "some, or leave this part out."
            )

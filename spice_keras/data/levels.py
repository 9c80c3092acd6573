"""What is black and what is white in pictures of more than eight bits.

A 16-bit file may hold 10, 12 or 16 bits, and a floating-point one 0..1 or 0..255. A few file
formats state their range. For the others it follows from the largest value of all the files that
are read together, so that one dark picture among them stays dark.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from spice_keras.data.undecodable import UndecodableImage
from spice_keras.options import checked_range

Range = tuple[float, float]
Kind = Literal["integers", "floats"]

_WHITES = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16))
# Floating-point numbers of up to so much beyond 1 are too small for 0..255, and not in 0..1.
_LEAST_WHITE = 16.0
_log = logging.getLogger("spice_keras.decoding")


@dataclass(frozen=True)
class Extent:
    """The values that one picture of more than eight bits holds.

    Attributes:
        kind: whether they are whole numbers or floating-point ones.
        low: the smallest.
        high: the largest.
    """

    kind: Kind
    low: float
    high: float

    def value_range(self) -> Range:
        """Return the range that these values most likely fill.

        Raises:
            UndecodableImage: if there is none, and a person has to say.
        """
        # Written so that a NaN fails it as well.
        if self.low >= 0 and self.high <= _WHITES[-1]:
            if self.kind == "floats" and self.high <= 1:
                return 0.0, 1.0
            if self.kind == "integers" or self.high >= _LEAST_WHITE:
                return 0.0, next(white for white in _WHITES if self.high <= white)
        known = "0..1" if self.kind == "floats" else "0..65535"
        noun = "floating-point" if self.kind == "floats" else "integer"
        raise UndecodableImage(
            f"{noun} pixels outside {known}: {self.low:g} to {self.high:g}, and the file does not "
            "state their range; the option data.range=[LOW,HIGH] does"
        )


class Levels(Protocol):
    """Where the range of a picture comes from that does not state its own.

    Attributes:
        overrules: whether it also replaces what a file states.
    """

    @property
    def overrules(self) -> bool:
        """Whether it also replaces what a file states."""

    def of(self, kind: Kind) -> Range | None:
        """Return the range for pictures of a kind; None if each is judged alone."""


@dataclass(frozen=True)
class KnownLevels:
    """Ranges that are known before anything is read: from the user, or from an earlier run.

    Attributes:
        integers: for whole numbers of more than eight bits.
        floats: for floating-point pictures.
        overrules: whether they also replace what a file states.
    """

    integers: Range | None = None
    floats: Range | None = None
    overrules: bool = False

    @classmethod
    def stated(cls, value_range: Range | None) -> Self | None:
        """Make the levels of the option `data.range`."""
        return None if value_range is None else cls(value_range, value_range, overrules=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote.

        Raises:
            ValueError: if it is of another kind.
        """
        integers, floats = (_pair(values.get(name)) for name in ("integers", "floats"))
        return cls(integers, floats, overrules=bool(values.get("overrules", False)))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {"integers": self.integers, "floats": self.floats, "overrules": self.overrules}

    def of(self, kind: Kind) -> Range | None:
        """Return the range for pictures of a kind."""
        return self.integers if kind == "integers" else self.floats


def _pair(value: Any) -> Range | None:
    """Read one range of a JSON file."""
    if value is None:
        return None
    try:
        low, high = (float(side) for side in value)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"Expected two finite numbers. Received: {value!r:.99}") from error
    return checked_range((low, high))


class FolderLevels:
    """The ranges of pictures that are read together, found by looking at all of them once.

    Nothing is read before the first picture asks. Then every file is opened, and those of more
    than eight bits that state no range are decoded once more than without. May be asked from
    many threads.

    Args:
        files: all files, of whatever kind.
        measure: gives the extent of a picture that states no range; None for any other file.
        num_threads: files looked at at once.
    """

    overrules = False

    def __init__(
        self,
        files: Sequence[Path],
        measure: Callable[[Path], Extent | None],
        num_threads: int,
    ) -> None:
        self._files, self._measure, self._num_threads = files, measure, num_threads
        self._lock = threading.Lock()
        self._found: KnownLevels | None = None

    @classmethod
    def together(cls, folders: Sequence[FolderLevels]) -> FolderLevels:
        """Make one range of several folders, before any of them was asked."""
        files = [file for folder in folders for file in folder._files]
        return cls(files, folders[0]._measure, folders[0]._num_threads)

    @property
    def found(self) -> KnownLevels | None:
        """What was found; None if no picture asked."""
        return self._found

    def of(self, kind: Kind) -> Range | None:
        """Return the range for pictures of a kind, looking at all files the first time."""
        with self._lock:
            if self._found is None:
                self._found = self._look()
            return self._found.of(kind)

    def _look(self) -> KnownLevels:
        with ThreadPoolExecutor(self._num_threads, thread_name_prefix="levels") as pool:
            extents = [extent for extent in pool.map(self._measure, self._files) if extent]
        return KnownLevels(_together(extents, "integers"), _together(extents, "floats"))


def _together(extents: Sequence[Extent], kind: Kind) -> Range | None:
    """The range of all pictures of a kind; those that fit none are left to be refused alone."""
    ranges = []
    for extent in extents:
        if extent.kind == kind:
            try:
                ranges.append(extent.value_range())
            except UndecodableImage:
                continue
    if not ranges:
        return None
    found = max(ranges, key=lambda pair: pair[1])
    noun = "whole numbers" if kind == "integers" else "floating-point numbers"
    listed = ", ".join(f"{n} fill 0..{high:g}" for (_, high), n in sorted(Counter(ranges).items()))
    _log.info(
        "%d pictures of %s do not state their range (%s): 0 is taken for black and %g for white "
        "in all of them; the option data.range=[LOW,HIGH] overrules this.",
        len(ranges),
        noun,
        listed,
        found[1],
    )
    return found

"""`edits.jsonl`: every edit appended at once, and what it gives when it is read back."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.errors import UserError
from spice_keras.review.edits import (
    Change,
    Check,
    Distinct,
    Exclude,
    Merge,
    Move,
    NewCluster,
    Redo,
    Rename,
    Split,
    Undo,
    Whole,
    parse_edit,
)
from spice_keras.review.state import CannotApply, ReviewState

EDITS = "edits.jsonl"
_AS_BEFORE = 0.5  # of the images two clusters have together


@dataclass(frozen=True)
class Base:
    """The automatic result that edits were made on.

    Attributes:
        members: The ids of each automatic cluster.
    """

    members: tuple[tuple[str, ...], ...]

    @cached_property
    def home(self) -> dict[str, str]:
        """The key of each image's automatic cluster."""
        return {item: f"c{number}" for number, part in enumerate(self.members) for item in part}

    @classmethod
    def of(cls, state: ReviewState) -> Base:
        """Note the automatic clusters under a state."""
        order = np.argsort(state.automatic, kind="stable")
        sizes = np.bincount(state.automatic, minlength=state.num_clusters)
        parts = np.split(order, np.cumsum(sizes)[:-1])
        return cls(tuple(tuple(state.ids[row] for row in part) for part in parts))

    def keys_in(self, state: ReviewState) -> tuple[dict[str, str], dict[str, str]]:
        """Find the automatic clusters of another result that took the place of these.

        Args:
            state: Over the other result, before any edit.

        Returns:
            For each key here, the cluster there that is the same thing (they share more than half
            of all images of both), and the one that holds most of its images.
        """
        same: dict[str, str] = {}
        most: dict[str, str] = {}
        sizes = np.bincount(state.automatic, minlength=state.num_clusters)
        for number, members in enumerate(self.members):
            rows = [state.row_of[item] for item in members if item in state.row_of]
            if not rows:
                continue
            shared = np.bincount(state.automatic[rows], minlength=state.num_clusters)
            best = int(shared.argmax())
            if shared[best] > _AS_BEFORE * len(rows):
                most[f"c{number}"] = f"c{best}"
            if shared[best] > _AS_BEFORE * (len(rows) + sizes[best] - shared[best]):
                same[f"c{number}"] = f"c{best}"
        return same, most


@dataclass(frozen=True)
class Entry:
    """One edit of the log.

    Attributes:
        number: Its place in the log, from 1.
        when: Date and time in UTC, ISO 8601.
        edit: What was decided.
        base: Number of the base it was made on, from 0.
    """

    number: int
    when: str
    edit: Change | Undo | Redo
    base: int


@dataclass
class Replay:
    """What a log gives on a result.

    Attributes:
        state: The clusters after all edits that stand.
        done: The edits that stand and apply, in their order.
        undone: Those taken back, the next to be done again last.
        lost: Edits that stand but no longer apply, each with the reason.
    """

    state: ReviewState
    done: list[Entry] = field(default_factory=list)
    undone: list[Entry] = field(default_factory=list)
    lost: list[tuple[Entry, str]] = field(default_factory=list)


def standing(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Follow undo and redo: which edits stand, and which can be done again.

    Args:
        entries: All edits, undo and redo among them.

    Returns:
        The edits that stand, and those taken back, last taken back last.
    """
    done: list[Entry] = []
    undone: list[Entry] = []
    for entry in entries:
        if isinstance(entry.edit, Undo):
            if done:
                undone.append(done.pop())
        elif isinstance(entry.edit, Redo):
            if undone:
                done.append(undone.pop())
        else:
            done.append(entry)
            undone.clear()
    return done, undone


def replay(
    start: ReviewState, bases: Sequence[Base], entries: Sequence[Entry], own: Base | None = None
) -> Replay:
    """Apply every edit that stands to a result, in order.

    Edits that were made on another result of the same images are carried over: clusters by the
    images they share, images by their ids.

    Args:
        start: The result before any edit; it stays as it is.
        bases: The results edits were made on.
        entries: All edits.
        own: `Base.of(start)`, if it is at hand.

    Returns:
        The clusters, and what became of each edit.
    """
    done, undone = standing(entries)
    result = Replay(start.copy(), undone=undone)
    own = Base.of(start) if own is None else own
    moved = [None if base == own else base.keys_in(start) for base in bases]
    for entry in done:
        keys = moved[entry.base]
        try:
            edit, note = entry.edit, ""
            if keys is not None:
                edit, note = _carried(entry.edit, result.state, bases[entry.base], *keys)
            result.state.apply(edit)
            result.done.append(entry)
        except CannotApply as error:
            note = str(error)
        if note:
            result.lost.append((entry, note))
    return result


def _carried(
    edit: Change | Undo | Redo,
    state: ReviewState,
    base: Base,
    same: Mapping[str, str],
    most: Mapping[str, str],
) -> tuple[Change, str]:
    """Say an edit in the keys of another result; the note says what is lost of it."""

    def known(items: Sequence[str]) -> tuple[str, ...]:
        found = tuple(item for item in items if item in state.row_of)
        if not found:
            raise CannotApply("none of its images is in this run")
        return found

    if isinstance(edit, Rename | Whole):
        return edit.model_copy(update={"group": _key(edit.group, same)}), ""
    if isinstance(edit, Merge):
        return _carried_merge(edit, most)
    if isinstance(edit, Distinct):
        pair = tuple(_key(key, same) for key in edit.groups)
        return edit.model_copy(update={"groups": pair}), ""
    if isinstance(edit, Split):
        return _carried_split(edit, same, known)
    if isinstance(edit, Check) and edit.value:
        return _carried_check(edit, state, known(edit.items), base, most)
    if isinstance(edit, Move | NewCluster | Exclude | Check):
        items = known(edit.items)
        update: dict[str, object] = {"items": items}
        if isinstance(edit, Move):
            update["group"] = _key(edit.group, most)
        return edit.model_copy(update=update), _missing(edit.items, items)
    raise TypeError(f"Expected an edit that changes clusters. Received: {edit!r}")


def _missing(asked: Sequence[str], found: Sequence[str]) -> str:
    gone = len(asked) - len(found)
    return f"{gone} of its {len(asked)} images are not in this run" if gone else ""


def _carried_check(
    edit: Check,
    state: ReviewState,
    items: tuple[str, ...],
    base: Base,
    most: Mapping[str, str],
) -> tuple[Change, str]:
    """Keep the mark of images that are where they were when a person found them right."""
    rows = [state.row_of[item] for item in items]
    stay = tuple(
        item
        for item, row in zip(items, rows, strict=True)
        if state.decisions[row] or most.get(base.home.get(item, "")) == f"c{state.automatic[row]}"
    )
    if not stay:
        raise CannotApply("this result has none of its images where they were")
    away = len(items) - len(stay)
    notes = [_missing(edit.items, items)]
    notes += [f"{away} of its images are in another cluster now"] if away else []
    return edit.model_copy(update={"items": stay}), "; ".join(filter(None, notes))


def _key(key: str, keys: Mapping[str, str]) -> str:
    if key[0] == "n":
        return key
    if key not in keys:
        raise CannotApply(f"this result has no cluster like {key} any more")
    return keys[key]


def _carried_merge(edit: Merge, most: Mapping[str, str]) -> tuple[Change, str]:
    into = _key(edit.into, most)
    groups = tuple(dict.fromkeys(_key(key, most) for key in edit.groups))
    if len(groups) < 2:
        raise CannotApply("this result has these clusters in one already")
    return edit.model_copy(update={"groups": groups, "into": into}), ""


def _carried_split(
    edit: Split, same: Mapping[str, str], known: Callable[[Sequence[str]], tuple[str, ...]]
) -> tuple[Change, str]:
    parts = tuple(part.model_copy(update={"items": known(part.items)}) for part in edit.parts)
    gone = sum(len(part.items) for part in edit.parts) - sum(len(part.items) for part in parts)
    note = f"{gone} of its images are not in this run" if gone else ""
    return edit.model_copy(update={"group": _key(edit.group, same), "parts": parts}), note


class EditLog:
    """The file of edits of a run, and the clusters that it gives.

    Any number of threads and processes may append: each edit is locked, written and on the disk
    before the call returns. A line that was cut by a crash is left out.

    Args:
        path: The file; it need not exist.
        start: The run's automatic result.

    Raises:
        UserError: If the file is damaged before its last line, or its edits belong to other images.

    Example:
        >>> import numpy as np, pathlib, tempfile
        >>> from spice_keras.review.edits import Rename, Undo
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "edits.jsonl"
        >>> log = EditLog(path, ReviewState(["a", "b"], np.array([0, 1]), 2))
        >>> _ = log.append(Rename(group="c0", name="cats"))
        >>> log.state.groups["c0"].name
        'cats'
        >>> _ = log.append(Undo())
        >>> log.state.groups["c0"].name
        ''
    """

    def __init__(self, path: Path, start: ReviewState) -> None:
        self.path = path
        self.start = start
        self._lock = threading.RLock()
        self._bases: list[Base] = []
        self._entries: list[Entry] = []
        self._own = Base.of(start)
        self._size = self._seen = 0  # bytes of whole lines, and of the file
        self.current = Replay(start.copy())
        self.refresh()
        known = {item for base in self._bases for part in base.members for item in part}
        if known and not known & start.row_of.keys():
            raise UserError(
                f"{path} holds edits of other images: none of its {len(known)} images is in this "
                "run. Give the edits.jsonl of a run over the same images."
            )

    @property
    def state(self) -> ReviewState:
        """The clusters as they stand; not to be changed."""
        return self.current.state

    @property
    def version(self) -> int:
        """The number of the last edit; another one after any edit."""
        return len(self._entries)

    @property
    def entries(self) -> Sequence[Entry]:
        """All edits, in the order they were made."""
        return tuple(self._entries)

    def refresh(self) -> None:
        """Read what others have appended since."""
        with self._lock:
            size = self.path.stat().st_size if self.path.is_file() else 0
            if size != self._seen:
                self._read()

    def append(self, edit: Change | Undo | Redo) -> Entry:
        """Apply an edit and write it down.

        Args:
            edit: The edit.

        Returns:
            The edit as it stands in the log.

        Raises:
            CannotApply: If it does not fit the clusters as they stand; nothing is written.
            OSError: If it cannot be written; nothing has changed.
        """
        with self._lock, self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refresh()
            after = self._after(edit)
            new_base = not self._bases or self._bases[-1] != self._own
            lines = _line({"base": self._own.members}) if new_base else b""
            base = len(self._bases) - (0 if new_base else 1)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            entry = Entry(len(self._entries) + 1, when, edit, base)
            record = edit.model_dump(mode="json")
            lines += _line({"number": entry.number, "when": when, "edit": record})
            self._write(file, lines)
            if new_base:
                self._bases.append(self._own)
            self._entries.append(entry)
            if after is None:
                self._replay()
            else:
                done, lost = [*self.current.done, entry], self.current.lost
                self.current = Replay(after, done, [], lost)
            return entry

    def _replay(self) -> None:
        self.current = replay(self.start, self._bases, self._entries, self._own)

    def _after(self, edit: Change | Undo | Redo) -> ReviewState | None:
        """The clusters after an edit; None for undo and redo, which are worked out from all."""
        if isinstance(edit, Undo):
            if not self.current.done and not self.current.lost:
                raise CannotApply("there is nothing to undo")
            return None
        if isinstance(edit, Redo):
            if not self.current.undone:
                raise CannotApply("there is nothing to do again")
            return None
        after = self.state.copy()
        after.apply(edit)
        return after

    def _write(self, file: Any, lines: bytes) -> None:
        """Append whole lines; what a crash left of one is cut away, and so is a failed write."""
        file.truncate(self._size)
        try:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), self._size)
            raise
        self._size += len(lines)
        self._seen = self._size

    def _read(self) -> None:
        content = self.path.read_bytes() if self.path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        bases: list[Base] = []
        entries: list[Entry] = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
                if "base" in record:
                    bases.append(Base(tuple(tuple(map(str, part)) for part in record["base"])))
                else:
                    edit = parse_edit(json.dumps(record["edit"]))
                    entries.append(
                        Entry(len(entries) + 1, str(record["when"]), edit, len(bases) - 1)
                    )
                    if not bases:
                        raise ValueError("no result stands before it")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(
                    f"Line {number} of {self.path} is damaged ({error}). Remove the line to go on "
                    "without that edit."
                ) from error
        self._bases, self._entries = bases, entries
        self._size, self._seen = len(whole), len(content)
        self._replay()


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()

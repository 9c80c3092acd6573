"""Writing files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from spice_keras.csv_cells import escaped_rows

if sys.platform != "win32":
    import fcntl

# What `_beside` names, and what older versions did.
_LEFT_OVER = re.compile(r"\.(.+\.[a-z0-9_]{8}|writing.*)")
# Errors of the place a file is written to, and what a person calls them.
_STORAGE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than may be written here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no permission to write",
    errno.EPERM: "there is no permission to write",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network drive is gone",
}
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # NumPy's, which has no number


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name; it takes its own when the block ends without an error.

    Args:
        path: The file; missing parent folders are made.

    Yields:
        The open file, empty. It is flushed to disk before it takes its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("xb+") as file:
            lock_file(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Fill a folder under another name; it takes its own when the block ends without an error.

    Args:
        path: The folder; missing parents are made.
        replace: Whether a folder that stands there is replaced whole; otherwise it is an error.

    Yields:
        An empty folder beside it.
    """
    with _folder_aside(path) as temporary:
        yield temporary
        if replace and path.exists():
            shutil.rmtree(path)
        temporary.replace(path)


@contextmanager
def _folder_aside(path: Path) -> Iterator[Path]:
    """Make an empty folder beside one, for a block to fill and rename; an error removes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    with contextlib.ExitStack() as held:
        temporary = _held_folder(path, held)
        try:
            yield temporary
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _held_folder(path: Path, held: contextlib.ExitStack) -> Path:
    """Make a folder beside one and hold it; again if another writer's `sweep` came in between."""
    while True:
        temporary = _beside(path)
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError):
            if held.enter_context(_held(temporary)) and temporary.is_dir():
                return temporary


def next_number(folder: Path) -> int:
    """Return one more than the highest number that is a name in a folder, or 1."""
    numbers = [int(path.name) for path in folder.glob("*") if re.fullmatch("[0-9]+", path.name)]
    return max(numbers, default=0) + 1


@contextmanager
def unnumbered_folder(parent: Path) -> Iterator[Path]:
    """Make an empty folder under another name, for a block to fill and `give_number` to place.

    Args:
        parent: Where it is made; missing folders are made.

    Yields:
        The folder. An error in the block removes it, unless it has its number.
    """
    with _folder_aside(parent / "version") as folder:
        yield folder


def give_number(folder: Path) -> Path:
    """Put a whole folder in place under the next number that is free where it lies.

    The number is claimed by the rename itself, so that processes that write at the same time get
    different ones, and none is lost to a process that fails.

    Args:
        folder: What `unnumbered_folder` made.

    Returns:
        The folder under its number.
    """
    while True:
        target = folder.parent / str(next_number(folder.parent))
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():
                raise
        else:
            return target


def lock_file(number: int) -> bool:
    """Take the system's lock on an open file; it ends with the file, or with the process.

    Args:
        number: The file descriptor.

    Returns:
        Whether it is ours. If the file system has no locks, it is.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock a folder that is being filled, so that `sweep` leaves it alone; whether it is ours."""
    if sys.platform == "win32":
        yield True
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        yield lock_file(number)
    finally:
        os.close(number)


def sweep(path: Path) -> None:
    """Remove what a killed writer of this file or folder left beside it."""
    _remove(path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}"))


def left_overs(folder: Path) -> list[Path]:
    """Return what killed writers left in a folder; not what lies below it."""
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if _LEFT_OVER.fullmatch(path.name)]
    return []


def sweep_folder(folder: Path) -> None:
    """Remove what killed writers left in a folder, whatever they were writing."""
    _remove(left_overs(folder))


def _remove(stale: Iterable[Path]) -> None:
    """Remove files and folders, but for those that a living writer holds."""
    for path in stale:
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # a link, or one that may not be read
            _remove_one(path)
            continue
        try:
            if lock_file(number):  # held while it goes, so that nobody begins to fill it
                _remove_one(path)
        finally:
            os.close(number)


def _remove_one(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def reserve(folder: Path, size: int) -> None:
    """Find out whether a folder has room for so many bytes, before they are written.

    Some libraries end the process if a disk is full in the middle of their file.

    Args:
        folder: The folder.
        size: Bytes.

    Raises:
        OSError: If there is no room for them, or for a file so large.
    """
    trial = _beside(folder / "room")
    try:
        with trial.open("xb") as file:
            allocate(file.fileno(), size)
    finally:
        trial.unlink(missing_ok=True)


def allocate(number: int, size: int) -> None:
    """Give an open file its bytes on the disk now, so that writing to a map of it cannot fail.

    Args:
        number: The file descriptor.
        size: Bytes.

    Raises:
        OSError: If there is no room for them.
    """
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(number, 0, size)


def storage_problem(error: BaseException) -> str | None:
    """Say what is wrong with the place that was written to, in words.

    Args:
        error: What was raised, by Python or by a library that only passes the system's text on.

    Returns:
        "the disk is full" or the like; None if the error is of another kind.
    """
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return _STORAGE[error.errno]
    text = str(error)
    if isinstance(error, OSError) and _SHORT_WRITE.search(text):
        return _STORAGE[errno.ENOSPC]
    # Code in C++ passes the system's words on.
    return next((said for code, said in _STORAGE.items() if os.strerror(code) in text), None)


def _beside(path: Path) -> Path:
    """A free name beside a file or folder; `sweep` knows it again."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; NaN becomes null, which every JSON reader takes."""
    write_atomically(path, json_text(value).encode())


def json_text(value: Any) -> str:
    """Return what `write_json` writes."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically; texts that a spreadsheet would run are escaped."""
    with atomic_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(escaped_rows(chain([header], rows)))
        text.detach()


def finite(value: Any) -> Any:
    """Return what JSON can hold: arrays as lists, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_table(folder: Path, *, without: str | None = None) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below a folder, by its path there.

    Args:
        folder: The folder.
        without: A file in it that is left out.
    """
    return {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and str(path.relative_to(folder)) != without
    }


def link_or_copy(source: str, target: str) -> None:
    """Hard-link a file, or copy it if the disk does not allow that."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)

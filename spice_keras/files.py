"""Writing files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that spreadsheets run as a formula."""


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
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
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
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if replace and path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sweep(path: Path) -> None:
    """Remove what a killed writer of this file or folder left beside it."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}"):
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A free name beside a file or folder; `sweep` knows it again."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; NaN becomes null, which every JSON reader takes."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def plain_cell(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe goes before one.

    Example:
        >>> plain_cell("=1+1"), plain_cell("cat.png")
        ("'=1+1", 'cat.png')
    """
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


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


def link_or_copy(source: str, target: str) -> None:
    """Hard-link a file, or copy it if the disk does not allow that."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)

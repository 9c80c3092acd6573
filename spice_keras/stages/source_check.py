"""Whether the source still holds what a run was made of, and how it differs if not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spice_keras.config.protocol import part_config, roles_of
from spice_keras.data.array_source import read_array
from spice_keras.data.embedding_source import EmbeddingSource
from spice_keras.data.folder_source import is_own_output
from spice_keras.data.sources import Decoded
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.run.context import Context
from spice_keras.run.sources import open_sources
from spice_keras.run.store import Items
from spice_keras.stages.ingest import parted_source

_FILE = "source.json"
_ON_DISK = ("folder", "arrays", "embeddings")
_LISTED = 3


def _listing(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """Names, sizes and times of a file, or of everything below a folder."""
    if path.is_file():
        yield _entry(path, path.name)
    for folder, names, files in os.walk(path, followlinks=False):
        if Path(folder) != path and is_own_output({*names, *files}):
            names.clear()
            continue
        names.sort()
        for name in sorted(files):
            full = Path(folder, name)
            if not name.startswith("."):
                yield _entry(full, str(full.relative_to(path)))


def _entry(path: Path, name: str) -> tuple[str, int, int, int]:
    try:
        status = path.lstat()
    except OSError:  # gone since it was listed
        return name, 0, 0, 0
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def source_state(context: Context) -> dict[str, str] | None:
    """Return a digest of the listing of each part's source; None if none lies on this disk.

    Args:
        context: The run.
    """
    data = context.config.data
    if data.source not in _ON_DISK:
        return None
    found = {}
    for role in roles_of(data):
        path = Path(part_config(data, role).path or "")
        if part_config(data, role).path is None or not path.exists():
            return None
        digest = hashlib.sha256()
        for entry in _listing(path):
            digest.update(repr(entry).encode("utf-8", "backslashreplace"))
        found[str(role)] = digest.hexdigest()
    return found


def names_rows(context: Context) -> bool:
    """Tell whether items have names of their own, so that one may stand in another row.

    Args:
        context: The run.

    Returns:
        False for an array without `ids`, in which a name is only the number of a row.
    """
    data = context.config.data
    if data.source not in ("arrays", "embeddings") or Path(data.path or "").is_dir():
        return True
    return read_array(Path(data.path or ""), "ids") is not None


def note_source(context: Context) -> None:
    """Note how the source looks now: it was read just before, or compared.

    Args:
        context: The run.
    """
    state = source_state(context)
    if state is not None:
        write_json(context.run.path / _FILE, state)


def refuse_changed_source(context: Context, commands: Sequence[str]) -> None:
    """Refuse to go on if the source no longer holds what the run was made of.

    Names, sizes and times of its files are compared first. Only if these differ, everything is
    read again and compared item by item. A source that is gone is no obstacle: the run has all
    that it needs. An export does not ask, nor does an evaluation without labels; to an evaluation
    with labels, further items are no obstacle.

    Args:
        context: The run; its images are there.
        commands: The commands whose stages run.

    Raises:
        UserError: With how the source differs, and how to go on.
    """
    judges = set(commands) <= {"eval", "export"}
    if ("eval" not in commands and judges) or (judges and context.config.data.gives_no_labels):
        return
    state = source_state(context)
    if state is None or state == _noted(context.run.path / _FILE):
        return
    context.screen.detail("The files of the source look different; they are compared.")
    found = _differences(context)
    if judges and all(" added: " in text for text in found):
        return
    if found:
        without = ", judge without labels (--labels none)" if judges else ""
        name = context.config.data.path
        raise UserError(
            f"{name} is not what {context.run.path} was made of: {'; '.join(found)}. Assign what "
            "is new by the heads as they are: `spice run --run-dir "
            f"{context.run.path} --update`. Or put back what was there{without}, or begin a new "
            "run of what lies there now: `spice run` without --resume, in another folder "
            "(--run-dir)."
        )
    note_source(context)


def _noted(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _differences(context: Context) -> list[str]:
    """Read the source again and compare it with what is stored, item by item."""
    ids, rows = _items_now(context)
    stored = context.load(Items)
    if context.has_images:
        pixels = np.load(Items.pixels_file(context.folder(Items)), mmap_mode="r")
    else:
        pixels = context.given_features
    return compare_items(stored.ids, [row_digest(row) for row in pixels], ids, rows)


def row_digest(row: np.ndarray) -> bytes:
    """Return what tells one item's pixels or features from another's, 16 bytes."""
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def _items_now(context: Context) -> tuple[list[str], list[bytes]]:
    sources = open_sources(context.config.data)
    if not context.has_images:
        source = sources["train"]
        if not isinstance(source, EmbeddingSource):
            raise TypeError(f"Expected a source of embeddings. Received: {source!r}")
        with TemporaryDirectory(dir=context.run.path, prefix=".scratch.") as folder:
            found = source.read(Path(folder) / "features.npy")
            return list(found.ids), [row_digest(row) for row in found.features]
    given = [
        (item.id, row_digest(item.image))
        for item in parted_source(context.config.data, sources).items()
        if isinstance(item, Decoded)
    ]
    return [name for name, _ in given], [digest for _, digest in given]


def compare_items(
    ids: Sequence[str], rows: Sequence[bytes], new_ids: Sequence[str], new_rows: Sequence[bytes]
) -> list[str]:
    """Say how two lists of items differ.

    Args:
        ids: Names of the items a run was made of, in order.
        rows: Their digests, from `row_digest`.
        new_ids: Names of the items the source has now.
        new_rows: Their digests.

    Returns:
        Each kind of difference with its number and the first names; empty if there is none.

    Example:
        >>> compare_items(["a", "b"], [b"1", b"2"], ["b", "c"], [b"2", b"3"])
        ['1 item gone: a', '1 item added: c']
    """
    if list(ids) == list(new_ids) and list(rows) == list(new_rows):
        return []
    if len(rows) == len(new_rows) and sorted(rows) == sorted(new_rows):
        moved = sum(one != other for one, other in zip(rows, new_rows, strict=True))
        if moved or list(ids) == list(new_ids):
            return [f"the same items in another order, {moved} of {len(rows)} in another place"]
    before, now = dict(zip(ids, rows, strict=True)), dict(zip(new_ids, new_rows, strict=True))
    kinds = {
        "changed": [name for name in before if name in now and before[name] != now[name]],
        "gone": [name for name in before if name not in now],
        "added": [name for name in now if name not in before],
    }
    return [_counted(names, what) for what, names in kinds.items() if names] or [
        "the same items in another order"
    ]


def _counted(names: Sequence[str], what: str) -> str:
    rest = ", ..." if len(names) > _LISTED else ""
    noun = "item" if len(names) == 1 else "items"
    return f"{len(names)} {noun} {what}: {', '.join(names[:_LISTED])}{rest}"

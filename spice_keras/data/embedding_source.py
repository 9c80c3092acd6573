"""Embeddings from a NumPy file or from shards, ready for cosine similarity; no pickle is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np

from spice_keras.data.array_file import ArrayFile, open_array_file
from spice_keras.data.array_source import array_ids, read_array
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.npy_stream import NpyHeader, read_float32_matrix
from spice_keras.data.sources import DataSource, SourceOptions
from spice_keras.errors import UserError
from spice_keras.scratch import new_array_file, row_blocks
from spice_keras.shards.embeddings import EmbeddingShards

_ADVICE = "Save the embeddings again: np.savez(file, features=...)."
_NAMES = ("features", "embeddings", "x", "X")
# Neither is taken for embeddings. Labels are not even looked at for their shape.
_OTHER_NAMES = frozenset({"ids", "labels"})
_BLOCK_ROWS = 1024
_ROWS_NAMED = 10
# Between these lengths the sum of squares of a float32 row neither vanishes nor overflows.
_SHORTEST, _LONGEST = 1e-15, 1e15


@dataclass(frozen=True, eq=False)
class EmbeddingFile:
    """Embeddings as they lie in a file, not normalised.

    Attributes:
        features: float32 [N, D]; each row finite, with a direction.
        ids: of the rows; N different strings of one line.
        content_hash: SHA-256 (hex) of ids and features in order, the same wherever it is computed
            and whatever floating-point type the file has, up to rounding to float32.
    """

    features: np.ndarray
    ids: tuple[str, ...]
    content_hash: str


def read_embeddings_file(path: str | Path, into: Path | None = None) -> EmbeddingFile:
    """Read embeddings, one row an item, in 4*N*D bytes of memory or on the disk.

    A row without a direction (NaN, infinite, all zero) has no cosine to any other, and it means
    that the program before this one failed on that item. It is refused, not skipped: row r of
    every result then is row r of the file, and the failure is seen before the clusters are used.

    Args:
        path: an .npy file of one array [N, D], or an .npz file with such an array named
            "features", "embeddings", "x" or "X", or as its only two-dimensional array of numbers.
            "ids" beside it may name the rows by N different strings or integers.
        into: an .npy file to write, whose memory-mapped rows are the features; None for memory.

    Returns:
        Embeddings, ids and content hash.

    Raises:
        UserError: when the file is missing, damaged or ambiguous, holds anything else, or has
            rows without a direction.
    """
    path = Path(path)
    with _opened(path) as (stream, header):
        matrix = None if into is None else new_array_file(into, header.shape, np.float32)
        features = read_float32_matrix(stream, header, matrix)
    ids = tuple(array_ids(path, len(features), noun="row"))
    _check_rows(features, path)
    return EmbeddingFile(features, ids, _content_hash(features, ids))


def embeddings_shape(path: str | Path) -> tuple[int, int]:
    """Number of rows N and columns D of an embedding file, without reading the rows.

    Args:
        path: as for `read_embeddings_file`.

    Returns:
        N and D, each at least 2.

    Raises:
        UserError: as `read_embeddings_file` raises it before it reads a row.
    """
    with _opened(Path(path)) as (_, header):
        num_rows, dim = header.shape
    return num_rows, dim


class EmbeddingSource(DataSource):
    """Embeddings from an .npy or .npz file, or from a folder of shards, one row an item.

    Args:
        path: as for `read_embeddings_file`, or a folder that `spice embed` wrote.
        sample: rows to draw from the shards, at least 2; None for all.

    Raises:
        UserError: as `embeddings_shape` raises it; if the shards are incomplete or do not fit each
            other; if a sample of a file is asked for.
    """

    def __init__(self, path: str | Path, sample: int | None = None) -> None:
        self.path, self._sample = Path(path), sample
        self._shards = EmbeddingShards(self.path) if self.path.is_dir() else None
        if self._shards is not None:
            total = len(self._shards)
            self._num_rows = total if sample is None else min(sample, total)
            return
        self._num_rows, _ = embeddings_shape(self.path)
        if sample is not None:
            raise UserError(
                f"A sample (--sample {sample}) is drawn from a folder of shards, and {path} is one "
                "file, which is read whole. Leave --sample out."
            )

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Look at the shape of what `options.path` holds."""
        return cls(options.path, options.sample)

    def __len__(self) -> int:
        return self._num_rows

    def read(self, into: Path | None = None) -> EmbeddingFile:
        """Read all rows, or the sample.

        Args:
            into: as for `read_embeddings_file`.

        Returns:
            Embeddings, ids and content hash.

        Raises:
            UserError: as `read_embeddings_file` raises it; if a shard is damaged.
        """
        if self._shards is None:
            return read_embeddings_file(self.path, into)
        rows = None
        if into is not None:
            rows = new_array_file(into, (len(self), self._shards.dim), np.float32)
        ids, features, content_hash = self._shards.sample(self._sample, rows)
        _check_rows(features, self.path)
        return EmbeddingFile(features, tuple(ids), content_hash)

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """The array "labels" of the file; shards have none.

        Args:
            options: those of `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels; None if there are none.

        Raises:
            UserError: if the labels do not match the rows, or an id is unknown.
        """
        path = Path(options.path)
        if path.is_dir():
            return None
        labels = read_array(path, "labels")
        if labels is None:
            return None
        num_rows, _ = embeddings_shape(path)
        return column_labels(labels, array_ids(path, num_rows, noun="row"), ids, path)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], NpyHeader]]:
    """The array of embeddings, at its first element; what goes wrong becomes a UserError."""
    with open_array_file(path, "embeddings", _ADVICE) as file:
        name = _member(file) if file.is_archive else file.names[0]
        with file.array(name) as (stream, header):
            yield stream, _checked(header, path)


def _member(file: ArrayFile) -> str:
    """Name of the archive member that holds the embeddings."""
    named = [name for name in file.names if name in _NAMES]
    headers = {}
    if not named:
        headers = {name: file.header(name) for name in file.names if name not in _OTHER_NAMES}
        named = [n for n, header in headers.items() if header.is_numeric and len(header.shape) == 2]
    if len(named) == 1:
        return named[0]
    shapes = "; ".join(f"{name}: {header}" for name, header in headers.items())
    received = f"several ({', '.join(named)})" if named else f"none ({shapes or 'no other array'})"
    raise UserError(
        f"Expected one array of embeddings in {file.path}: two-dimensional, of numbers, named "
        f'"features" where there are several. Received: {received}. '
        "Save it so: np.savez(file, features=..., ids=...)."
    )


def _checked(header: NpyHeader, path: Path) -> NpyHeader:
    """Refuse an array that cannot be embeddings, before any of it is read."""
    if header.is_numeric and len(header.shape) == 2 and min(header.shape) >= 2:
        return header
    objects = " Python objects (pickle) are never loaded." if header.dtype.hasobject else ""
    raise UserError(
        f"The embeddings of {path} must be floating-point or whole numbers of a shape [N, D]: one "
        f"row an item, at least 2 rows and 2 columns. Received: {header}.{objects} "
        "Save np.asarray(embeddings, np.float32), with one row for each item."
    )


def _check_rows(features: np.ndarray, path: Path) -> None:
    """Refuse rows whose cosine to the others is undefined, and name them."""
    flaws: dict[str, list[int]] = {
        "with NaN, an infinity or a number too large for float32": [],
        "all zero": [],
        f"of a length outside {_SHORTEST:g} to {_LONGEST:g}": [],
    }
    infinite, zero, extreme = flaws.values()
    for rows in row_blocks(features, _BLOCK_ROWS):
        block, start = features[rows], rows.start
        finite = np.isfinite(block).all(axis=1)
        kept = np.flatnonzero(finite)
        lengths = np.sqrt(np.square(block[kept], dtype=np.float64).sum(axis=1))
        beyond = (lengths > 0) & ((lengths < _SHORTEST) | (lengths > _LONGEST))
        infinite += (start + np.flatnonzero(~finite)).tolist()
        zero += (start + kept[lengths == 0]).tolist()
        extreme += (start + kept[beyond]).tolist()
    found = "; ".join(f"{len(bad)} {flaw} ({_listed(bad)})" for flaw, bad in flaws.items() if bad)
    if found:
        raise UserError(
            f"Every row of the embeddings of {path} needs a direction, for its cosine to the "
            f"others. Received: of {len(features)} rows, counted from 0: {found}. Compute these "
            "embeddings again, or leave the rows out of features, ids and labels alike."
        )


def _listed(rows: Sequence[int]) -> str:
    """Name the first of some rows."""
    rest = len(rows) - _ROWS_NAMED
    noun = "row" if len(rows) == 1 else "rows"
    more = f" and {rest} more" if rest > 0 else ""
    return f"{noun} {', '.join(map(str, rows[:_ROWS_NAMED]))}{more}"


def _content_hash(features: np.ndarray, ids: Sequence[str]) -> str:
    """Hash names and rows in turn; the length before each name keeps it apart from the numbers."""
    digest = hashlib.sha256(features.shape[1].to_bytes(8, "little"))
    for rows in row_blocks(features, _BLOCK_ROWS):
        block = np.asarray(features[rows], "<f4")  # little-endian everywhere
        for name, row in zip(ids[rows], block, strict=True):
            encoded = name.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
            digest.update(row.tobytes())
    return digest.hexdigest()

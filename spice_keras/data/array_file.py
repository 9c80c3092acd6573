"""The arrays of an .npy or .npz file, whoever wrote it: no pickle, and no more than it declares.

The header of an array states its size. It is compared with what the file holds before anything
is read, so that neither a header that lies nor a small archive that unpacks to a large one takes
more memory than an honest file of that shape.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np

from spice_keras.data.npy_stream import NpyHeader, read_elements, read_header, stream_rows
from spice_keras.errors import UserError

_ZIP_MAGIC = b"PK"
_SUFFIX = ".npy"
_MOST_MEMBERS = 10_000
# An archive above this size may unpack to at most so many times what it takes on disk. Deflate
# reaches 1,032 with nothing but zeros; photographs reach 2, drawings 50.
_SMALL, _MOST_UNPACKED = 1 << 28, 200


class ArrayFile:
    """An open .npy or .npz file; `open_array_file` makes it.

    Attributes:
        path: the file.
        names: of its arrays; "images" for the one of an .npy file.
    """

    def __init__(self, path: Path, file: IO[bytes], archive: zipfile.ZipFile | None) -> None:
        self.path, self._file, self._archive = path, file, archive
        self._size = path.stat().st_size
        self.names: tuple[str, ...] = ("images",)
        if archive is not None:
            listed = archive.namelist()
            if len(listed) > _MOST_MEMBERS:
                raise ValueError(f"it lists {len(listed)} arrays; at most {_MOST_MEMBERS} are read")
            found = [name.removesuffix(_SUFFIX) for name in listed if name.endswith(_SUFFIX)]
            if len(set(found)) != len(found):
                raise ValueError("it holds two arrays of one name")
            self.names = tuple(found)

    @property
    def is_archive(self) -> bool:
        """Whether this is an .npz file."""
        return self._archive is not None

    @contextmanager
    def array(self, name: str) -> Iterator[tuple[IO[bytes], NpyHeader]]:
        """Open one array.

        Args:
            name: one of `names`.

        Yields:
            A stream at the first element, and the header, whose size is that of the stream.
        """
        if self._archive is None:
            self._file.seek(0)
            header = read_header(self._file)
            _check_size(header, self._size - self._file.tell())
            yield self._file, header
            return
        member = self._archive.getinfo(name + _SUFFIX)
        unpacked, packed = member.file_size, min(member.compress_size, self._size)
        if unpacked > max(_SMALL, _MOST_UNPACKED * packed):
            raise UserError(
                f'"{name}" of {self.path} would unpack from {packed:,} bytes to {unpacked:,}, more '
                f"than {_MOST_UNPACKED} times as many. If it is meant so, save it with "
                "numpy.savez, which does not compress."
            )
        with self._archive.open(member) as stream:
            header = read_header(stream)
            _check_size(header, unpacked - stream.tell())
            yield stream, header

    def header(self, name: str) -> NpyHeader:
        """Read what one array says of itself."""
        with self.array(name) as (_, header):
            return header

    def read(self, name: str) -> np.ndarray:
        """Read one array; that of an .npy file is memory-mapped and read-only."""
        with self.array(name) as (stream, header):
            if self._archive is not None or header.dtype.hasobject or not header.num_bytes:
                return read_elements(stream, header)
            order: Literal["C", "F"] = "F" if header.fortran_order else "C"
            return np.memmap(self.path, header.dtype, "r", stream.tell(), header.shape, order)

    def rows(self, name: str) -> Iterator[np.ndarray]:
        """Read one array row by row: in the memory of one row, unless it is in Fortran order."""
        if self._archive is None or self.header(name).fortran_order:
            yield from self.read(name)
            return
        with self.array(name) as (stream, header):
            yield from stream_rows(stream, header)


def _check_size(header: NpyHeader, held: int) -> None:
    """Refuse an array that declares another size than the file holds."""
    if not header.dtype.itemsize and header.shape:
        raise ValueError(f"its elements have no size ({header})")
    if not header.dtype.hasobject and header.num_bytes > held:
        raise ValueError(
            f"it declares {header.num_bytes:,} bytes ({header}) and ends before its last element: "
            f"it holds {held:,}"
        )


@contextmanager
def open_array_file(path: Path, what: str, advice: str) -> Iterator[ArrayFile]:
    """Open an .npy or .npz file; whatever is wrong with it becomes a UserError.

    Args:
        path: the file.
        what: what it should hold, for messages: "images".
        advice: how to make a good one, a sentence for messages.

    Yields:
        The open file. Reading from it within the block is covered as well.

    Raises:
        UserError: when the file is missing, damaged, or larger than memory.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}. Give an .npy or .npz file of {what}.")
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
            file.seek(0)
            if not zipped:
                yield ArrayFile(path, file, None)
                return
            with zipfile.ZipFile(file) as archive:
                yield ArrayFile(path, file, archive)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"The {what} of {path} do not fit into memory ({error}). Give fewer at a time, or use "
            "a machine with more memory."
        ) from error
    # Archives are parsed by hand, in zipfile and in three decompressors: damage raises anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as an .npy or .npz file of {what}: it is damaged, encrypted, "
            f"of another kind, or holds Python objects (pickle), which are never loaded "
            f"({reason}). {advice}"
        ) from error

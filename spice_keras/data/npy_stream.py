"""One array of an .npy file or archive member, read as a stream: no copy but the result."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from spice_keras.scratch import row_blocks

_BLOCK_BYTES = 1 << 22
_MAGIC = b"\x93NUMPY"
# NumPy's own bound: longer ones can crash the parser of Python's literals.
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 32
_KEYS = {"descr", "fortran_order", "shape"}


@dataclass(frozen=True)
class NpyHeader:
    """What an .npy file says of its array.

    Attributes:
        shape: of the array.
        fortran_order: whether the columns come one after the other, not the rows.
        dtype: of its elements.
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def is_numeric(self) -> bool:
        """Whether the elements are floating-point or whole numbers."""
        return self.dtype.kind in "fiu"

    @property
    def num_bytes(self) -> int:
        """Size of all elements; it may be larger than any memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"shape={self.shape}, dtype={self.dtype}"


def read_header(stream: IO[bytes]) -> NpyHeader:
    """Read what comes before the elements.

    Args:
        stream: at the start of an .npy file; afterwards at its first element.

    Returns:
        The header.

    Raises:
        ValueError: when this is not an .npy file, or its header is damaged.
    """
    start = _exactly(stream, 8)
    version = start[6], start[7]
    if start[:6] != _MAGIC or version not in {(1, 0), (2, 0), (3, 0)}:
        raise ValueError(f"it does not begin as an .npy file does: {start!r}")
    size = int.from_bytes(_exactly(stream, 2 if version == (1, 0) else 4), "little")
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header claims {size} bytes; at most {_LONGEST_HEADER} are read")
    encoding = "utf-8" if version == (3, 0) else "latin-1"
    return _header(_literal(_exactly(stream, size).decode(encoding)))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("the file ends within its header")
    return data


def _literal(text: str) -> Any:
    """Read a Python literal; whatever is wrong with it is a ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of damaged text the parser may warn, then go on
            return ast.literal_eval(text.strip())
    # ValueError, SyntaxError, TypeError, MemoryError and RecursionError by its documentation.
    except Exception as error:
        raise ValueError("its header is damaged") from error


def _header(fields: Any) -> NpyHeader:
    """Check what a header states."""
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        raise ValueError("its header is damaged: it must state descr, fortran_order and shape")
    shape, fortran_order = fields["shape"], fields["fortran_order"]
    whole = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not whole or len(shape) > _MOST_DIMENSIONS or type(fortran_order) is not bool:
        raise ValueError("its header is damaged: shape or order is of another kind")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dtype = np.lib.format.descr_to_dtype(fields["descr"])
    # NumPy parses type strings by hand, and a damaged one can raise nearly anything.
    except Exception as error:
        raise ValueError(f"its header names no type of NumPy: {fields['descr']!r:.60}") from error
    return NpyHeader(shape, fortran_order, dtype)


def read_elements(stream: IO[bytes], header: NpyHeader) -> np.ndarray:
    """Read all elements, in as many bytes as the header declares.

    Args:
        stream: at the first element, as `read_header` leaves it.
        header: of an array without Python objects. The caller has compared its size with the
            stream's.

    Returns:
        The array.

    Raises:
        ValueError: when the stream ends too soon, or the elements are Python objects.
        MemoryError: when there is not enough memory.
    """
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects (pickle), which are never loaded")
    flat = np.empty(math.prod(header.shape), header.dtype)
    step = max(1, _BLOCK_BYTES // max(1, header.dtype.itemsize))
    for start in range(0, len(flat), step):
        block = flat[start : start + step]
        block[:] = np.frombuffer(_elements(stream, block.nbytes, header), header.dtype)
    stream.read(1)  # an archive compares its checksum when one reads past the end
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def stream_rows(stream: IO[bytes], header: NpyHeader) -> Iterator[np.ndarray]:
    """Read an array in C order row by row, in the memory of one row.

    Args:
        stream: at the first element, as `read_header` leaves it.
        header: of an array without Python objects, in C order, of at least one dimension.

    Yields:
        Each row, of the shape `header.shape[1:]`.

    Raises:
        ValueError: when the stream ends too soon, or the array is of another kind.
    """
    if header.dtype.hasobject or header.fortran_order or not header.shape:
        raise ValueError(f"Expected plain rows in C order. Received: {header}")
    row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
    for _ in range(header.shape[0]):
        data = _elements(stream, row_bytes, header)
        yield np.frombuffer(data, header.dtype).reshape(header.shape[1:])
    stream.read(1)


def _elements(stream: IO[bytes], num_bytes: int, header: NpyHeader) -> bytes:
    data = stream.read(num_bytes)
    if len(data) != num_bytes:
        raise ValueError(f"the file ends before its last element ({header})")
    return data


def read_float32_matrix(
    stream: IO[bytes], header: NpyHeader, into: np.ndarray | None = None
) -> np.ndarray:
    """Read the elements as float32, converted block by block.

    Args:
        stream: at the first element, as `read_header` leaves it.
        header: of a numeric array [N, D].
        into: float32 [N, D] to fill, perhaps memory-mapped; None for a new array.

    Returns:
        float32 [N, D] in row order. Numbers too large for float32 are infinite.

    Raises:
        ValueError: when the header is of another kind, or the stream ends too soon.
        MemoryError: when 4*N*D bytes are more than there are.
    """
    if len(header.shape) != 2 or not header.is_numeric:
        raise ValueError(f"Expected a numeric array [N, D]. Received: {header}")
    matrix = np.empty(header.shape, np.float32) if into is None else into
    lines = matrix.T if header.fortran_order else matrix
    line_bytes = lines.shape[1] * header.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(1, line_bytes))
    for rows in row_blocks(lines, step):
        block = lines[rows]
        data = _elements(stream, len(block) * line_bytes, header)
        with np.errstate(over="ignore"):
            block[:] = np.frombuffer(data, header.dtype).reshape(block.shape)
    # An archive compares its checksum when one reads past the end.
    stream.read(1)
    return matrix

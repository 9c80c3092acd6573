"""One array of an .npy file or archive member, read as a stream: no copy but the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

import numpy as np

_BLOCK_BYTES = 1 << 22


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

    def __str__(self) -> str:
        return f"shape={self.shape}, dtype={self.dtype}"


def read_header(stream: IO[bytes]) -> NpyHeader:
    """Read what comes before the elements.

    Args:
        stream: at the start of an .npy file; afterwards at its first element.

    Returns:
        The header.

    Raises:
        ValueError: when this is not an .npy file of version 1 or 2 (3 never holds a plain array).
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"Expected an .npy file of version 1 or 2. Received: version={version}")
    return NpyHeader(*readers[version](stream))


def read_float32_matrix(stream: IO[bytes], header: NpyHeader) -> np.ndarray:
    """Read the elements as float32, converted block by block.

    Args:
        stream: at the first element, as `read_header` leaves it.
        header: of a numeric array [N, D].

    Returns:
        float32 [N, D] in row order. Numbers too large for float32 are infinite.

    Raises:
        ValueError: when the header is of another kind, or the stream ends too soon.
        MemoryError: when 4*N*D bytes are more than there are.
    """
    if len(header.shape) != 2 or not header.is_numeric:
        raise ValueError(f"Expected a numeric array [N, D]. Received: {header}")
    matrix = np.empty(header.shape, np.float32)
    lines = matrix.T if header.fortran_order else matrix
    line_bytes = lines.shape[1] * header.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(1, line_bytes))
    for start in range(0, len(lines), step):
        block = lines[start : start + step]
        data = stream.read(len(block) * line_bytes)
        if len(data) != len(block) * line_bytes:
            raise ValueError(f"the file ends before its last element ({header})")
        with np.errstate(over="ignore"):
            block[:] = np.frombuffer(data, header.dtype).reshape(block.shape)
    # An archive compares its checksum when one reads past the end.
    stream.read(1)
    return matrix

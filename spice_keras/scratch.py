"""Large arrays in files without a name, and the pages of mapped files given back."""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spice_keras.files import allocate

LARGE_BYTES = 2**27
"""Arrays from this size on lie in a file."""
_BLOCK_BYTES = 2**25
# Around each row that is read, Linux maps 64 KiB that it has in memory already: 256 MiB a block.
_GATHERED = 4096


def scratch_array(shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None) -> np.ndarray:
    """Make an array for results that may be larger than memory.

    The file has no name, so it is gone as soon as the array is, whatever ends the process.

    Args:
        shape: Of the array.
        dtype: Of its elements.
        folder: Where a large array's file lies; None to hold it in memory, whatever its size.

    Returns:
        An array of any content: in memory if it is smaller than `LARGE_BYTES`, else memory-mapped.

    Raises:
        OSError: If the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if folder is None or size < LARGE_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder, prefix=".scratch.") as file:
        allocate(file.fileno(), size)  # a full disk would otherwise end the process
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def new_array_file(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Make an .npy file to fill.

    Args:
        path: The file.
        shape: Of the array.
        dtype: Of its elements.

    Returns:
        The array, memory-mapped, zero everywhere.

    Raises:
        OSError: If the disk has no room for it.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("rb+") as file:
        allocate(file.fileno(), path.stat().st_size)  # as above
    return np.asarray(array)


def row_blocks(array: np.ndarray, length: int, *beside: np.ndarray) -> Iterator[slice]:
    """Go through the rows of an array in order, and give the pages of a mapped file back.

    Args:
        array: Of at least one dimension.
        length: Rows of a block, at least 1.
        *beside: Arrays that are read or written along with it; their pages are given back too.

    Yields:
        The rows of each block. Pages are given back about every 32 MiB.
    """
    every = max(1, _BLOCK_BYTES // max(1, length * array[:1].nbytes))
    for number, start in enumerate(range(0, len(array), length), 1):
        yield slice(start, min(start + length, len(array)))
        if number % every == 0:
            give_back(array, *beside)
    give_back(array, *beside)


def gathered(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy some rows of an array, in any order, and give the pages of a mapped file back meanwhile.

    Args:
        array: Of at least one dimension.
        rows: Which, whole numbers. Shape: (num_rows,).

    Returns:
        `array[rows]`, in memory.

    Example:
        >>> import numpy as np
        >>> gathered(np.array([[1, 2], [3, 4], [5, 6]]), np.array([2, 0])).tolist()
        [[5, 6], [1, 2]]
    """
    if not is_mapped(array):
        return np.asarray(array[rows])
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for start in range(0, len(rows), _GATHERED):
        found[start : start + _GATHERED] = array[rows[start : start + _GATHERED]]
        give_back(array)
    return found


def give_back(*arrays: np.ndarray) -> None:
    """Give the pages of memory-mapped files back; what is read again comes from the file.

    Pages that were read or written count as resident until the system needs the room.

    Args:
        *arrays: Arrays and views of any kind; nothing happens to those in memory.
    """
    for array in arrays:
        pages = _pages(array)
        if pages is not None and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED)


def is_mapped(array: np.ndarray) -> bool:
    """Tell whether an array lies in a file.

    Args:
        array: Any array or view.
    """
    return _pages(array) is not None


def _pages(array: np.ndarray) -> mmap.mmap | None:
    """What maps the file of an array; None if changes would be nowhere else, or could be."""
    base: object = array
    is_shared = False
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            is_shared = base.mode != "c"
        base = base.base
    return base if is_shared and isinstance(base, mmap.mmap) else None

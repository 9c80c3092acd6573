from __future__ import annotations

import io

import numpy as np
import pytest

from spice_keras.data import npy_stream
from spice_keras.data.npy_stream import NpyHeader, read_float32_matrix, read_header


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> io.BytesIO:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_the_header_is_that_of_the_array(version: tuple[int, int]) -> None:
    header = read_header(saved(np.zeros((3, 4), ">i2", order="F"), version))
    assert header == NpyHeader((3, 4), True, np.dtype(">i2"))
    assert header.is_numeric
    assert str(header) == "shape=(3, 4), dtype=>i2"


def test_other_versions_and_other_files_are_refused() -> None:
    named = read_header(saved(np.zeros(2, np.dtype([("é", "f4")])), (3, 0)))
    assert not named.is_numeric
    later = saved(np.zeros(2), (1, 0)).getvalue().replace(b"NUMPY\1", b"NUMPY\4")
    for data in (later, b"no array, but a text"):
        with pytest.raises(ValueError, match="does not begin as an"):
            read_header(io.BytesIO(data))


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 22])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_any_size_give_the_same_matrix(
    block_bytes: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy_stream, "_BLOCK_BYTES", block_bytes)
    array = np.random.default_rng(0).normal(size=(7, 5))
    stream = saved(np.asarray(array, order="F" if order == "F" else "C"))
    matrix = read_float32_matrix(stream, read_header(stream))
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, array.astype(np.float32))


def test_a_stream_that_ends_too_soon_is_refused() -> None:
    stream = saved(np.zeros((7, 5)))
    stream.truncate(len(stream.getvalue()) - 1)
    with pytest.raises(ValueError, match="ends before its last element"):
        read_float32_matrix(stream, read_header(stream))


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), bool), np.zeros((2, 2), "S2")])
def test_only_numeric_matrices_are_read(array: np.ndarray) -> None:
    stream = saved(array)
    header = read_header(stream)
    with pytest.raises(ValueError, match=r"\[N, D\]. Received: shape="):
        read_float32_matrix(stream, header)

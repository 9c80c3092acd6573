"""Arrays in files without a name: gone with the array, the same to the bit, pages given back."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from spice_keras import scratch
from spice_keras.scratch import (
    gathered,
    give_back,
    is_mapped,
    new_array_file,
    row_blocks,
    scratch_array,
)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "LARGE_BYTES", 1)


def test_a_small_array_stays_in_memory(tmp_path: Path) -> None:
    array = scratch_array((3, 2), np.float32, tmp_path)
    assert not is_mapped(array)
    assert (array.shape, array.dtype) == ((3, 2), np.float32)


@pytest.mark.usefixtures("all_large")
def test_a_large_one_lies_in_a_file_without_a_name(tmp_path: Path) -> None:
    array = scratch_array((300, 5), np.float32, tmp_path)
    assert is_mapped(array)
    assert is_mapped(array[10:, 1])
    assert list(tmp_path.iterdir()) == []
    array[:] = np.arange(1500).reshape(300, 5)
    give_back(array)
    np.testing.assert_array_equal(array.ravel(), np.arange(1500))


@pytest.mark.usefixtures("all_large")
def test_without_a_folder_it_stays_in_memory() -> None:
    assert not is_mapped(scratch_array((300, 5), np.float32, None))


@pytest.mark.usefixtures("all_large")
def test_a_disk_without_room_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        scratch_array((2**40, 2**10), np.float64, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_array_file_is_filled_in_place(tmp_path: Path) -> None:
    array = new_array_file(tmp_path / "x.npy", (4, 3), np.float32)
    assert is_mapped(array)
    array[:] = 7.0
    give_back(array)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.full((4, 3), 7.0, np.float32))


def test_changes_that_are_nowhere_else_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(5))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[2] = 1.0
    give_back(private)
    assert not is_mapped(private)
    assert private.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_so_are_those_of_a_private_map_that_numpy_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(5))
    with (tmp_path / "x").open("rb") as file:
        private = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    private[2] = 1
    give_back(private)
    assert not is_mapped(private)
    assert private.tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("length", [1, 3, 10, 99])
def test_blocks_are_all_rows_in_order(length: int) -> None:
    rows = np.arange(10)
    blocks = [rows[block] for block in row_blocks(rows, length)]
    np.testing.assert_array_equal(np.concatenate(blocks), rows)
    assert max(map(len, blocks)) <= length
    assert list(row_blocks(rows[:0], length)) == []


def test_pages_are_given_back_while_blocks_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1000, 8), np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    calls: list[int] = []
    monkeypatch.setattr(scratch, "_BLOCK_BYTES", 100 * mapped[:1].nbytes)
    monkeypatch.setattr(scratch, "give_back", lambda *arrays: calls.append(len(arrays)))
    assert len(list(row_blocks(mapped, 50, np.zeros(3)))) == 20
    assert calls == [2] * 11  # every second block, and at the end; both arrays


def _mapped_kib(array: np.ndarray) -> int:
    """How much of an array's file this process has mapped, by the system's account."""
    address, found, own = array.__array_interface__["data"][0], 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii", errors="replace").splitlines():
        if "-" in line.split(" ", 1)[0]:
            first, last = (int(part, 16) for part in line.split(" ", 1)[0].split("-"))
            own = first <= address < last
        elif own and line.startswith("Rss:"):
            found = int(line.split()[1])
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the account is Linux's")
def test_rows_in_any_order_are_copied_and_their_pages_given_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9000, 512)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    mapped, asked = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(9000)[::-1]
    _ = mapped[asked]
    assert _mapped_kib(mapped) > 17_000
    np.testing.assert_array_equal(gathered(mapped, asked), rows[asked])
    assert not is_mapped(gathered(mapped, asked))
    assert _mapped_kib(mapped) < 1000
    np.testing.assert_array_equal(gathered(rows, asked[:3]), rows[asked[:3]])

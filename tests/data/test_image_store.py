from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spice_keras.data.image_store import NpyRowWriter, TooManySkipped, open_images, write_images
from spice_keras.data.sources import Decoded, SkippedFile
from spice_keras.errors import UserError


class ListSource:
    """A source of given items."""

    image_size = 2

    def __init__(self, items: list[Decoded | SkippedFile]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        return iter(self._items)


def image(value: int, name: str = "") -> Decoded:
    return Decoded(name or f"i{value}", np.full((2, 2, 3), value, np.uint8))


def bad(number: int) -> SkippedFile:
    return SkippedFile(f"bad{number}", "empty: 0 bytes")


@pytest.mark.parametrize("num_rows", [0, 1, 11, 12_345])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_read_back_as_numpy_wrote_them(tmp_path: Path, num_rows: int, dtype: type) -> None:
    rows = np.arange(num_rows * 6).reshape(num_rows, 2, 3).astype(dtype)
    with NpyRowWriter(tmp_path / "x.npy", (2, 3), dtype) as writer:
        for row in rows:
            writer.append(row)
    np.save(tmp_path / "numpy.npy", rows)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_rows_that_are_no_contiguous_memory(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(2, 3, 2).swapaxes(1, 2)
    with NpyRowWriter(tmp_path / "x.npy", (2, 3)) as writer:
        for row in rows:
            writer.append(row)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), rows)


@pytest.mark.parametrize("row", [np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.int8)])
def test_other_rows_are_refused_and_leave_no_file(tmp_path: Path, row: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Received: "), NpyRowWriter(tmp_path / "x", (2, 3)) as it:
        it.append(row)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with NpyRowWriter(path, (1,)) as writer:
        writer.append(np.array([7], np.uint8))
    with pytest.raises(KeyboardInterrupt), NpyRowWriter(path, (1,)):
        raise KeyboardInterrupt
    assert np.load(path).tolist() == [[7]]
    assert list(tmp_path.iterdir()) == [path]


def test_images_ids_and_skipped(tmp_path: Path) -> None:
    source = ListSource([image(1), bad(1), image(2), image(3)])
    stored = write_images(source, tmp_path / "x.npy", max_skipped_share=0.25)
    assert stored.ids == ("i1", "i2", "i3")
    assert stored.skipped == (bad(1),)
    images = open_images(tmp_path / "x.npy", 10**9)
    assert images.dtype == np.uint8
    assert images.shape == (3, 2, 2, 3)
    assert images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_content_hash_tells_ids_pixels_and_order_apart(tmp_path: Path) -> None:
    def hashed(*items: Decoded | SkippedFile) -> str:
        return write_images(
            ListSource(list(items)), tmp_path / "x.npy", max_skipped_share=0.5
        ).content_hash

    reference = hashed(image(1), image(2))
    assert hashed(image(1), bad(1), image(2)) == reference
    others = {
        hashed(image(2), image(1)),
        hashed(image(1)),
        hashed(image(1), image(3, "i2")),
        hashed(image(1), image(2, "i3")),
    }
    assert len(others | {reference}) == 5
    assert len(reference) == 64


@pytest.mark.parametrize(
    ("num_images", "num_bad", "share", "enough"),
    [
        (9, 1, 0.1, True),
        (8, 2, 0.1, False),
        (1, 1, 0.5, True),
        (1, 0, 0.0, True),
        (99, 1, 0.0, False),
        (0, 1, 1.0, False),
        (0, 0, 1.0, False),
        (1, 99, 1.0, True),
    ],
)
def test_share_that_may_be_skipped(
    tmp_path: Path, num_images: int, num_bad: int, share: float, enough: bool
) -> None:
    items: list[Decoded | SkippedFile] = [image(n) for n in range(num_images)]
    items += [bad(n) for n in range(num_bad)]
    path = tmp_path / "x.npy"
    if enough:
        assert len(write_images(ListSource(items), path, max_skipped_share=share).ids) > 0
        return
    with pytest.raises(TooManySkipped, match=f"^{num_bad} of {len(items)} items") as raised:
        write_images(ListSource(items), path, max_skipped_share=share)
    assert isinstance(raised.value, UserError)
    assert raised.value.skipped == tuple(bad(n) for n in range(num_bad))
    assert list(tmp_path.iterdir()) == []


def test_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    write_images(ListSource([image(1), image(2)]), path, max_skipped_share=0.0)
    size = path.stat().st_size
    loaded, mapped = open_images(path, size), open_images(path, size - 1)
    assert not isinstance(loaded, np.memmap)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(loaded, mapped)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    write_images(ListSource([image(1)]), path, max_skipped_share=0.0)
    (tmp_path / "half.npy").write_bytes(path.read_bytes()[:-1])
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    for name in ("half.npy", "empty.npy", "objects.npy", "gone.npy"):
        for limit in (0, 10**9):
            with pytest.raises(UserError, match="run the stage that writes it again"):
                open_images(tmp_path / name, limit)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.data.array_source import ArraySource, read_array
from spice_keras.data.sources import Decoded, SkippedFile
from spice_keras.errors import UserError

RAMP = np.arange(5, dtype=np.uint8)[:, None, None] * np.full((1, 6, 4), 50, np.uint8)


def images_of(path: Path, size: int = 4) -> tuple[list[str], np.ndarray]:
    items = list(ArraySource(path, size, "stretch").items())
    assert all(isinstance(item, Decoded) for item in items)
    decoded = [item for item in items if isinstance(item, Decoded)]
    return [item.id for item in decoded], np.stack([item.image for item in decoded])


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_shapes_and_types(tmp_path: Path, channels: tuple[int, ...], dtype: type) -> None:
    images = RAMP.reshape(5, 6, 4, *[1 for _ in channels]) * np.ones(channels, np.uint8)
    if dtype != np.uint8:
        images = (images / 255.0).astype(dtype)
    np.save(tmp_path / "x.npy", images)
    ids, pixels = images_of(tmp_path / "x.npy")
    assert ids == ["0000000", "0000001", "0000002", "0000003", "0000004"]
    expected = np.broadcast_to(RAMP[:, :1, :1, None], (5, 4, 4, 3))
    np.testing.assert_array_equal(pixels, expected)


def test_fortran_order_and_big_endian(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(RAMP / 255.0).astype(">f4"))
    np.testing.assert_array_equal(images_of(tmp_path / "x.npy")[1][:, 0, 0, 0], RAMP[:, 0, 0])


def test_npz_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", images=RAMP, labels=np.arange(5), other=np.ones(3))
    np.savez_compressed(tmp_path / "only.npz", RAMP)
    np.savez(tmp_path / "none.npz", a=RAMP, b=RAMP)
    assert len(ArraySource(tmp_path / "named.npz", 4, "crop")) == 5
    assert len(ArraySource(str(tmp_path / "only.npz"), 4, "crop")) == 5
    with pytest.raises(UserError, match='none named "images"'):
        ArraySource(tmp_path / "none.npz", 4, "crop")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array(["a", "b\n", "c\\", "d", "e"]), ["a", "b\\n", "c\\\\", "d", "e"]),
        (np.array([b"a", b"b", b"\xff", b"d", b"e"]), ["a", "b", "\\udcff", "d", "e"]),
        (np.array([5, -4, 3, 2, 1]), ["5", "-4", "3", "2", "1"]),
    ],
)
def test_ids(tmp_path: Path, ids: np.ndarray, expected: list[str]) -> None:
    np.savez(tmp_path / "x.npz", images=RAMP, ids=ids)
    names, _ = images_of(tmp_path / "x.npz")
    assert names == expected
    "".join(names).encode()


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (np.arange(4), "must be 5 strings or integers"),
        (np.ones(5), "must be 5 strings or integers"),
        (np.array([1, 2, 3, 3, 4]), "must differ"),
    ],
)
def test_ids_that_do_not_fit(tmp_path: Path, ids: np.ndarray, reason: str) -> None:
    np.savez(tmp_path / "x.npz", images=RAMP, ids=ids)
    with pytest.raises(UserError, match=reason):
        ArraySource(tmp_path / "x.npz", 4, "crop")


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf, 255.0])
def test_floats_outside_zero_to_one_are_skipped(tmp_path: Path, value: float) -> None:
    images = np.full((3, 4, 4), 0.5)
    images[1, 2, 2] = value
    np.save(tmp_path / "x.npy", images)
    items = list(ArraySource(tmp_path / "x.npy", 4, "crop").items())
    assert items[1] == SkippedFile("0000001", "floating-point pixels outside 0..1")
    assert [isinstance(item, Decoded) for item in items] == [True, False, True]


@pytest.mark.parametrize(
    "images",
    [
        RAMP.astype(np.int64),
        RAMP > 3,
        RAMP.astype(np.uint16),
        RAMP.astype(np.complex64),
        RAMP[0],
        RAMP[:0],
        RAMP[:, :0],
        np.zeros((2, 4, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 3, 1), np.uint8),
        np.uint8(3),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(UserError, match="Received: "):
        ArraySource(tmp_path / "x.npy", 4, "crop")


class Bomb:
    """Pickled, it would write a file when loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("loaded", "w")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickles_are_never_loaded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([Bomb()], object)
    if name == "x.npy":
        np.save(name, objects, allow_pickle=True)
    else:
        np.savez(name, images=objects)
    with pytest.raises(UserError, match="never loaded"):
        ArraySource(name, 4, "crop")
    assert not (tmp_path / "loaded").exists()


def test_damaged_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RAMP)
    np.savez(tmp_path / "x.npz", images=RAMP)
    whole = {name: (tmp_path / name).read_bytes() for name in ("x.npy", "x.npz")}
    broken = {
        "empty.npy": b"",
        "text.npy": b"some text",
        "half.npy": whole["x.npy"][:140],
        "half.npz": whole["x.npz"][:200],
        "flipped.npz": whole["x.npz"].replace(RAMP[3].tobytes(), RAMP[2].tobytes()),
        "encrypted.npz": encrypted(whole["x.npz"]),
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"cannot be read as an \.npy or \.npz file"):
            ArraySource(tmp_path / name, 4, "crop")
    for name in ("gone.npy", ""):
        with pytest.raises(UserError, match="There is no file"):
            ArraySource(tmp_path / name, 4, "crop")


def encrypted(archive: bytes) -> bytes:
    """An archive whose one member claims to be encrypted, in its two headers."""
    data = bytearray(archive)
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    return bytes(data)


def test_npy_files_are_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RAMP)
    assert isinstance(read_array(tmp_path / "x.npy", "images"), np.memmap)

"""Arrays from strangers: headers that lie, archives that explode, and one picture for many."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spice_keras.data.array_file import open_array_file
from spice_keras.data.array_source import ArraySource, array_ids, read_array
from spice_keras.data.embedding_source import EmbeddingSource, read_embeddings_file
from spice_keras.data.npy_stream import read_header
from spice_keras.data.sources import Decoded, SkippedFile, SourceOptions
from spice_keras.errors import UserError
from spice_keras.words.vocabulary import vocabulary_from_file

ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 10, 10)).astype(np.uint8)


def npy(header: bytes, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    size = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + header + body


def stating(descr: str = "'<f4'", order: str = "False", shape: str = "(9, 4)") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def readers(path: Path) -> list[Callable[[], object]]:
    """Everything that reads an array from a file that a stranger made."""
    return [
        lambda: [item for item in ArraySource(path, 4, "crop").items()],
        lambda: read_embeddings_file(path),
        lambda: vocabulary_from_file(path),
        lambda: array_ids(path, 9),
        lambda: EmbeddingSource.read_labels(SourceOptions(str(path)), ["0"]),
    ]


BAD_HEADERS = {
    "no end": b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 4",
    "token": b"{'descr': '<f4', 'fortran_order': False, 'shape': ((9, 4), }\n",
    "bytes": b"\xff" * 60,
    "call": b"__import__('os')",
    "nested": b"(" * 5000,
    "minus": b"-" * 9000 + b"1",
    "list": b"[1, 2]",
    "other keys": b"{'descr': '<f4', 'shape': (9, 4)}",
    "more keys": stating()[:-3] + b"'x': 1}",
    "no type": stating(descr="'<q9'"),
    "odd type": stating(descr="'f4,,'"),
    "number as type": stating(descr="17"),
    "deep type": stating(descr="[('a', [('b', [('c', '<f4')])])]"),
    "type of no size": stating(descr="'<U0'"),
    "void of no size": stating(descr="'V0'", shape="(10**9,)"),
    "negative": stating(shape="(-9, 4)"),
    "true": stating(shape="(True, 4)"),
    "list shape": stating(shape="[9, 4]"),
    "float shape": stating(shape="(9.0, 4)"),
    "many axes": stating(shape="(" + "1, " * 40 + ")"),
    "vast": stating(shape="(999999999999, 999999999999)"),
    "beyond 64 bits": stating(shape="(9, 99999999999999999999999999)"),
    "order": stating(order="0"),
    "names": stating(descr="'<f4'", shape="(N, 4)"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_header_that_lies_or_is_damaged_is_a_user_error(tmp_path: Path, name: str) -> None:
    data = npy(BAD_HEADERS[name], ROWS.tobytes())
    (tmp_path / "x.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for member in ("images", "features", "ids", "labels", "names", "vectors"):
            archive.writestr(f"{member}.npy", data)
    tracemalloc.start()
    for path in (tmp_path / "x.npy", tmp_path / "x.npz"):
        for read in readers(path)[: 2 if path.suffix == ".npy" else 5]:
            with pytest.raises(UserError):
                read()
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("header", [stating(), stating().replace(b" ", b"").replace(b"'", b'"')])
def test_headers_of_every_version_and_spelling(version: tuple[int, int], header: bytes) -> None:
    found = read_header(io.BytesIO(npy(header, version=version)))
    assert (found.shape, found.fortran_order, found.dtype) == ((9, 4), False, np.float32)


@pytest.mark.parametrize(
    "start", [b"", b"\x93NUMPY", b"\x93NUMPY\4\0", b"PK", b"PK\5\6" + b"\0" * 18]
)
def test_what_is_not_an_array_file(tmp_path: Path, start: bytes) -> None:
    for name in ("x.npy", "x.npz"):
        (tmp_path / name).write_bytes(start)
        for read in readers(tmp_path / name)[:3]:
            with pytest.raises(UserError):
                read()


def test_any_zip_given_as_images_is_a_user_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("photos/cat.png", b"some bytes")
    with pytest.raises(UserError, match="none at all"):
        ArraySource(tmp_path / "x.zip", 4, "crop")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("images.npy", b"no array")
    with pytest.raises(UserError, match="does not begin as an"):
        ArraySource(tmp_path / "y.zip", 4, "crop")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", npy(stating()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("images.npy", npy(stating()))
    with pytest.raises(UserError, match="two arrays of one name"):
        ArraySource(tmp_path / "x.npz", 4, "crop")


def bomb(path: Path, member: str, shape: tuple[int, ...], dtype: str = "|u1") -> int:
    """A small archive of zeros that is honest about its size; returns that size."""
    header = npy(stating(f"'{dtype}'", shape=repr(shape)))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{member}.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(header)
        zeros = bytes(1 << 20)
        for _ in range(size >> 20):
            stream.write(zeros)
    return size


def test_a_small_archive_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    size = bomb(tmp_path / "x.npz", "images", (300, 1024, 1024))
    assert (tmp_path / "x.npz").stat().st_size < size / 200
    tracemalloc.start()
    for read in (lambda: ArraySource(tmp_path / "x.npz", 4, "crop"),
                 lambda: read_embeddings_file(tmp_path / "x.npz"),
                 lambda: read_array(tmp_path / "x.npz", "images")):  # fmt: skip
        with pytest.raises(UserError, match=r"would unpack from .* to 314,572,8.*numpy\.savez"):
            read()
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_an_archive_of_images_is_unpacked_row_by_row(tmp_path: Path) -> None:
    bomb(tmp_path / "x.npz", "images", (40, 1024, 1024))
    tracemalloc.start()
    items = list(ArraySource(tmp_path / "x.npz", 4, "crop").items())
    assert len(items) == 40
    assert tracemalloc.get_traced_memory()[1] < 15e6  # a row is 1 MB, all of them 42
    tracemalloc.stop()


def test_an_archive_that_ends_early_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", npy(stating("'|u1'", shape="(9, 10, 10)"), b"\0" * 899))
    with pytest.raises(UserError, match="ends before its last element"):
        ArraySource(tmp_path / "x.npz", 4, "crop")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_an_archive_are_those_of_the_array(tmp_path: Path, order: str, save: type) -> None:
    save(tmp_path / "x.npz", images=np.asarray(IMAGES, order="F" if order == "F" else "C"))
    with open_array_file(tmp_path / "x.npz", "images", "") as file:
        np.testing.assert_array_equal(np.stack(list(file.rows("images"))), IMAGES)
        np.testing.assert_array_equal(file.read("images"), IMAGES)


# --- one picture, and other ranges ----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 48, 3), (48, 64, 4), (32, 32, 1), (8, 8, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_picture_is_not_taken_for_many(
    tmp_path: Path, shape: tuple[int, ...], dtype: type
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype))
    np.savez(tmp_path / "x.npz", np.zeros(shape, dtype))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(UserError, match=r"one picture \[H, W, C\].*array\[None\]"):
            ArraySource(tmp_path / name, 4, "crop")


@pytest.mark.parametrize("shape", [(64, 48, 5), (5, 6, 4), (64, 48, 3, 1), (1, 64, 48, 3)])
def test_shapes_that_say_what_they_are(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    assert len(list(ArraySource(tmp_path / "x.npy", 4, "crop").items())) == shape[0]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float64])
def test_the_option_gives_arrays_a_range(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "x.npy", (IMAGES.astype(np.uint16) << 4).astype(dtype))
    options = SourceOptions(str(tmp_path / "x.npy"), image_size=10, value_range=(0.0, 4095.0))
    items = list(ArraySource.open(options).items())
    for item, image in zip(items, IMAGES, strict=True):
        assert isinstance(item, Decoded)
        assert np.abs(item.image[:, :, 0].astype(int) - image).max() <= 1


def test_nan_is_left_out_whatever_the_range(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 5))
    images[1, 2, 2] = np.nan
    np.save(tmp_path / "x.npy", images)
    items = list(ArraySource(tmp_path / "x.npy", 4, "crop", (0.0, 9.0)).items())
    assert items[1] == SkippedFile("0000001", "NaN among its floating-point pixels")

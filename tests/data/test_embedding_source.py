from __future__ import annotations

import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.data.embedding_source import embeddings_shape, read_embeddings_file
from spice_keras.errors import UserError
from tests.data.test_array_source import encrypted

ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "x.npy", array, allow_pickle=False)
    return folder / "x.npy"


def with_rows(**rows: float) -> np.ndarray:
    """The rows, some of them ("r2") filled with one value, as float64."""
    array = ROWS.astype(np.float64)
    for name, value in rows.items():
        array[int(name[1:])] = value
    return array


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "i1", "u1", "<i8", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_numeric_type_and_order_gives_float32_rows(
    tmp_path: Path, dtype: str, order: str
) -> None:
    array = np.asarray(np.abs(ROWS * 50) + 1, dtype, order="F" if order == "F" else "C")
    found = read_embeddings_file(str(saved(tmp_path, array)))
    assert found.features.dtype == np.float32
    assert found.features.flags.c_contiguous
    np.testing.assert_array_equal(found.features, array.astype(np.float32))
    assert found.ids == tuple(f"{row:07d}" for row in range(6))
    assert embeddings_shape(tmp_path / "x.npy") == (6, 4)


@pytest.mark.parametrize("name", ["features", "embeddings", "x", "X", "clip"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_names_of_an_archive(tmp_path: Path, name: str, save: type) -> None:
    arrays = {name: ROWS, "ids": np.arange(6) + 3, "y": np.arange(6), "labels": np.ones((6, 9))}
    save(tmp_path / "x.npz", **arrays)
    found = read_embeddings_file(tmp_path / "x.npz")
    np.testing.assert_array_equal(found.features, ROWS)
    assert found.ids == ("3", "4", "5", "6", "7", "8")


def test_a_named_array_comes_before_other_matrices(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=ROWS, y=np.eye(6))
    np.testing.assert_array_equal(read_embeddings_file(tmp_path / "x.npz").features, ROWS)


@pytest.mark.parametrize(
    ("arrays", "received"),
    [
        ({"features": ROWS, "X": ROWS}, r"several \(features, X\)"),
        ({"a": ROWS, "b": ROWS}, r"several \(a, b\)"),
        ({"a": ROWS[0], "b": ROWS > 0}, r"none \(a: shape=\(4,\), dtype=float32; b: shape="),
        ({"labels": ROWS}, r"none \(no other array\)"),
        ({}, r"none \(no other array\)"),
    ],
)
def test_an_archive_without_one_clear_array(
    tmp_path: Path, arrays: dict[str, np.ndarray], received: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=received):
        read_embeddings_file(tmp_path / "x.npz")


def test_labels_are_never_touched(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", features=ROWS)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("labels.npy", b"not even an array")
    np.testing.assert_array_equal(read_embeddings_file(tmp_path / "x.npz").features, ROWS)


def test_ids_are_one_line_each_and_differ(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", features=ROWS, ids=np.array(["a\n", "b\\", "c", "d", "e", "f"]))
    assert read_embeddings_file(tmp_path / "x.npz").ids[:2] == ("a\\n", "b\\\\")
    np.savez(tmp_path / "x.npz", features=ROWS, ids=np.array(list("abcdea")))
    with pytest.raises(UserError, match="Received: a 2 times"):
        read_embeddings_file(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", features=ROWS, ids=np.array(list("abc")))
    with pytest.raises(UserError, match="6 strings or integers, one for each row"):
        read_embeddings_file(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", features=ROWS, ids=np.array(list("abcdef"), object))
    with pytest.raises(UserError, match="astype"):
        read_embeddings_file(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("rows", "received"),
    [
        ({"r2": np.nan}, r"1 with NaN, .* \(row 2\)"),
        ({"r0": np.inf, "r5": -np.inf}, r"2 with NaN, .* \(rows 0, 5\)"),
        ({"r3": 1e39}, r"1 with NaN, an infinity or a number too large for float32 \(row 3\)"),
        ({"r1": 0.0, "r4": 0.0}, r"2 all zero \(rows 1, 4\)"),
        ({"r1": -0.0}, r"1 all zero \(row 1\)"),
        ({"r1": 1e-60}, r"1 all zero \(row 1\)"),
        ({"r1": 1e-30, "r2": 1e30}, r"2 of a length outside 1e-15 to 1e\+15 \(rows 1, 2\)"),
        ({"r1": 0.0, "r2": np.nan}, r"1 with NaN, .* \(row 2\); 1 all zero \(row 1\)"),
    ],
)
def test_rows_without_a_direction_are_named(
    tmp_path: Path, rows: dict[str, float], received: str
) -> None:
    path = saved(tmp_path, with_rows(**rows))
    with pytest.raises(UserError, match=rf"of 6 rows, counted from 0: {received}.*leave the rows"):
        read_embeddings_file(path)


def test_one_missing_number_spoils_a_row_and_many_rows_are_counted(tmp_path: Path) -> None:
    array = np.ones((5000, 3))
    array[1000::2, 1] = np.nan
    with pytest.raises(UserError, match=r"2000 with .* \(rows 1000, 1002, .*1018 and 1990 more\)"):
        read_embeddings_file(saved(tmp_path, array))


@settings(max_examples=25, deadline=None)
@given(exponents=st.lists(st.integers(-14, 14), min_size=2, max_size=5))
def test_accepted_rows_have_a_length_in_float32(
    tmp_path_factory: pytest.TempPathFactory, exponents: list[int]
) -> None:
    array = np.float64(10.0) ** np.array(exponents)[:, None] * np.array([0.6, -0.8])
    found = read_embeddings_file(saved(tmp_path_factory.mktemp("rows"), array))
    lengths = np.linalg.norm(found.features, axis=1)
    np.testing.assert_allclose(lengths, 10.0 ** np.array(exponents), rtol=1e-5)


@pytest.mark.parametrize(
    "array",
    [
        ROWS[0],
        ROWS[None],
        ROWS[:0],
        ROWS[:1],
        ROWS[:, :1],
        ROWS[:, :0],
        ROWS > 0,
        ROWS.astype(np.complex64),
        ROWS.astype("S4"),
        ROWS.astype("V2"),
        np.zeros(6, np.dtype([("a", "f4")])),
        np.float32(3),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = saved(tmp_path, array)
    for read in (read_embeddings_file, embeddings_shape):
        with pytest.raises(UserError, match=r"at least 2 rows and 2 columns. Received: shape="):
            read(path)


class Bomb:
    """Pickled, it would write a file when loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("loaded", "w")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickles_are_never_loaded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([[Bomb()] * 2] * 2, object)
    if name == "x.npy":
        np.save(name, objects, allow_pickle=True)
    else:
        np.savez(name, features=objects)
    with pytest.raises(UserError, match="never loaded"):
        read_embeddings_file(name)
    assert not (tmp_path / "loaded").exists()


def test_damaged_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    np.savez(tmp_path / "x.npz", features=ROWS)
    np.savez_compressed(tmp_path / "z.npz", features=np.arange(99.0).reshape(33, 3))
    whole = {name: (tmp_path / name).read_bytes() for name in ("x.npy", "x.npz", "z.npz")}
    broken = {
        "empty.npy": b"",
        "text.npy": b"some text that is no array",
        "header.npy": whole["x.npy"][:40],
        "half.npy": whole["x.npy"][:-1],
        "vast.npy": whole["x.npy"].replace(b"(6, 4), }     ", b"(999999, 4), }"),
        "half.npz": whole["x.npz"][:200],
        "flipped.npz": whole["x.npz"].replace(ROWS[3].tobytes(), ROWS[2].tobytes()),
        "squeezed.npz": whole["z.npz"].replace(whole["z.npz"][80:100], b"\xff" * 20),
        "encrypted.npz": encrypted(whole["x.npz"]),
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"cannot be read as an \.npy or \.npz file"):
            read_embeddings_file(tmp_path / name)
    for name in ("gone.npy", ""):
        with pytest.raises(UserError, match="There is no file"):
            read_embeddings_file(tmp_path / name)


def test_more_than_the_memory_holds_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> np.ndarray:
        raise MemoryError("Unable to allocate 3 TiB")

    path = saved(tmp_path, ROWS)
    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(UserError, match=r"do not fit into memory .* 3 TiB"):
        read_embeddings_file(path)


def test_the_hash_is_of_ids_and_numbers_alone(tmp_path: Path) -> None:
    def digest(name: str, **arrays: np.ndarray) -> str:
        np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
        return read_embeddings_file(tmp_path / name).content_hash

    names = np.array(list("abcdef"))
    plain = digest("a.npz", features=ROWS, ids=names)
    wide = np.asarray(ROWS, ">f8", order="F")
    assert digest("b.npz", other=wide, ids=names.astype("S"), labels=np.arange(6)) == plain
    assert len({plain, digest("c.npz", features=ROWS), digest("d.npz", features=ROWS[::-1])}) == 3
    assert digest("e.npz", features=ROWS.reshape(4, 6)) != digest("f.npz", features=ROWS)


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_stays_at_four_bytes_a_number(tmp_path: Path, compressed: bool) -> None:
    array = np.ones((20_000, 384))
    path = tmp_path / "x.npz"
    (np.savez_compressed if compressed else np.savez)(path, features=array)
    result_bytes = array.size * 4
    del array
    tracemalloc.start()
    try:
        read_embeddings_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A few blocks of 4 MiB (an archive's pieces, joined), and the ids.
    assert result_bytes < peak < 2 * result_bytes


def test_no_file_stays_open(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=ROWS, b=ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(UserError):
            read_embeddings_file(tmp_path / "x.npz")

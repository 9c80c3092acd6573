"""Shards are written once, checked, and whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.shards.embeddings import EmbeddingShards, write_embeddings
from spice_keras.shards.folder import ShardFolder, holds_shards, read_manifest, shard_name

_FACTS = {"kind": "embeddings", "dim": 3, "size": (4, 4)}
_COUNTS = (4, 0, 3)


def _rows(number: int, count: int) -> np.ndarray:
    return np.arange(3 * count, dtype=np.float32).reshape(count, 3) + 100 * number


def _ids(number: int, count: int) -> list[str]:
    return [f"{number}/{row}" for row in range(count)]


def _write(folder: ShardFolder, number: int) -> None:
    count = _COUNTS[number]
    skipped = [] if count else [("broken.png", "damaged")]
    write_embeddings(folder, number, _ids(number, count), _rows(number, count), skipped)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = ShardFolder(tmp_path / "shards", _FACTS, len(_COUNTS))
    for number in (2, 0, 1):
        assert folder.finish() is None
        _write(folder, number)
    manifest = folder.finish()
    assert manifest is not None
    assert manifest.rows == 7
    return tmp_path / "shards"


def test_what_was_written_is_read_in_order(path: Path) -> None:
    shards = EmbeddingShards(path)
    assert (len(shards), shards.dim) == (7, 3)
    found = list(shards.shards())
    assert [name for name, *_ in found] == ["shard-000000", "shard-000002"]
    for (_, ids, rows), number in zip(found, (0, 2), strict=True):
        assert ids == _ids(number, _COUNTS[number])
        assert rows.dtype == np.float16
        assert isinstance(rows, np.memmap)
        np.testing.assert_array_equal(rows, _rows(number, _COUNTS[number]))


def test_a_sample_is_the_same_each_time_and_keeps_the_order(path: Path) -> None:
    shards = EmbeddingShards(path)
    every = _ids(0, 4) + _ids(2, 3)
    ids, rows, content = shards.sample(None)
    assert ids == every
    np.testing.assert_array_equal(rows, np.concatenate([_rows(0, 4), _rows(2, 3)]))
    some, drawn, same = shards.sample(5)
    assert some == sorted(set(some), key=every.index)
    assert len(some) == 5
    np.testing.assert_array_equal(drawn, rows[[every.index(name) for name in some]])
    assert same == content
    assert shards.sample(5)[0] == some
    assert shards.sample(99)[0] == every


def test_shards_that_are_there_are_not_missing(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "x", _FACTS, 7)
    assert folder.missing() == list(range(7))
    parts = [folder.missing((i, 3)) for i in (1, 2, 3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    write_embeddings(folder, 3, ["a"], np.zeros((1, 3)))
    again = ShardFolder(tmp_path / "x", _FACTS, 7)
    assert again.missing((1, 3)) == [0, 6]


def test_a_shard_whose_writer_was_killed_is_written_again(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "x", _FACTS, 1)
    np.save(folder.path / "shard-000000.npy", np.zeros((1, 3), np.float16))
    assert folder.missing() == [0]
    write_embeddings(folder, 0, ["a", "b"], np.ones((2, 3)))
    assert folder.missing() == []
    folder.finish()
    assert EmbeddingShards(tmp_path / "x").sample(None)[0] == ["a", "b"]


def test_values_beyond_float16_are_cut_off(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "x", _FACTS, 1)
    write_embeddings(folder, 0, ["a", "b"], np.array([[1e6, 0, 0], [-1e6, 1, 2]]))
    folder.finish()
    rows = EmbeddingShards(tmp_path / "x").sample(None)[1]
    assert np.isfinite(rows).all()
    assert (rows.max(), rows.min()) == (65504.0, -65504.0)


def test_shards_made_otherwise_are_refused(path: Path, tmp_path: Path) -> None:
    ShardFolder(path, _FACTS, 3)
    with pytest.raises(UserError, match="dim: 3 there, 4 now"):
        ShardFolder(path, {**_FACTS, "dim": 4}, 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UserError, match="not empty and holds no shards"):
        ShardFolder(tmp_path / "full", _FACTS, 3)
    with pytest.raises(UserError, match="is a file"):
        ShardFolder(tmp_path / "full" / "x", _FACTS, 3)


def test_an_incomplete_folder_says_so(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "x", _FACTS, 2)
    write_embeddings(folder, 0, ["a"], np.zeros((1, 3)))
    assert holds_shards(tmp_path / "x")
    assert not holds_shards(tmp_path)
    with pytest.raises(UserError, match="incomplete: 1 shards are written"):
        EmbeddingShards(tmp_path / "x")
    with pytest.raises(UserError, match="holds no shards"):
        EmbeddingShards(tmp_path)


def _damage(path: Path, how: str) -> None:
    file = path / "shard-000002.npy"
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-6])
    elif how == "changed":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif how == "wider":
        np.save(file, np.zeros((3, 5), np.float16))
    elif how == "ids":
        (path / "shard-000002.ids.json").write_text('["2/0"]')
    elif how == "manifest":
        (path / "manifest.json").write_text('{"facts": {}, "shards": [{"name": "x"}]}')
    elif how == "other":
        found = json.loads((path / "manifest.json").read_text())
        found["facts"]["kind"] = "images, tar"
        (path / "manifest.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "shard-000002.npy"), ("cut", "shard-000002.npy"),
        ("changed", "does not match its checksum"), ("wider", r"\(3, 3\).*Received.*\(3, 5\)"),
        ("ids", "shard-000002.ids.json"), ("manifest", "manifest.json is damaged"),
        ("other", "images, tar, not of embeddings"),
    ],
)  # fmt: skip
def test_a_folder_that_disagrees_with_its_manifest_is_refused(
    path: Path, how: str, message: str
) -> None:
    _damage(path, how)
    with pytest.raises(UserError, match=message):
        EmbeddingShards(path).sample(None)


def test_only_the_damaged_shard_is_written_again(path: Path) -> None:
    """What the message says works."""
    _damage(path, "changed")
    untouched = (path / "shard-000000.npy").stat().st_mtime_ns
    (path / "manifest.json").unlink()
    (path / f"{shard_name(2)}.json").unlink()
    folder = ShardFolder(path, _FACTS, 3)
    assert folder.missing() == [2]
    _write(folder, 2)
    folder.finish()
    assert len(EmbeddingShards(path).sample(None)[0]) == 7
    assert (path / "shard-000000.npy").stat().st_mtime_ns == untouched
    assert read_manifest(path).shards[1].facts == {"skipped": 1}


def test_what_a_killed_writer_left_is_no_obstacle_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "shards"
    path.mkdir()
    for name in (".facts.json.0a1b2c3d", ".shard-000000.npy.0a1b2c3d"):
        (path / name).write_text("half")
    folder = ShardFolder(path, _FACTS, len(_COUNTS))
    for number in range(len(_COUNTS)):
        _write(folder, number)
    assert folder.finish() is not None
    assert [one.name for one in path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../shard-000000"},
        {"rows": -1},
        {"rows": 1e400},
        {"files": {"../../passwd": [1, "0"]}},
        {"files": []},
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(path: Path, change: dict[str, object]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["shards"][0] |= change
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        read_manifest(path)


@pytest.mark.parametrize("text", ["null", "[1]", "[" * 100_000, "{", '{"a": [NaN'])
def test_files_of_json_that_are_something_else_are_told(path: Path, text: str) -> None:
    for name in ("manifest.json", "facts.json"):
        before = (path / name).read_text()
        (path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name} cannot be read"):
            read_manifest(path) if name == "manifest.json" else ShardFolder(path, _FACTS, 3)
        (path / name).write_text(before)
    (path / "shard-000000.ids.json").write_text(text)
    with pytest.raises(UserError, match=r"shard-000000\.ids\.json"):
        EmbeddingShards(path)._ids(EmbeddingShards(path).manifest.shards[0])

"""Each shard is written once, checked, and written again only if its files were damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.shards.embeddings import EmbeddingShards, write_embeddings
from spice_keras.shards.folder import ShardFolder
from spice_keras.shards.writing import Advance, ShardPlan, ShardWriter, write_shards


class _Numbers(ShardWriter):
    """Two rows a shard; `spoiled` says how many times the file of shard 1 comes out damaged."""

    def __init__(self, path: Path, spoiled: int = 0, changes: bool = False) -> None:
        super().__init__(ShardFolder(path, {"kind": "embeddings", "dim": 3}, 4))
        self.written: list[int] = []
        self._spoiled, self._changes = spoiled, changes

    def write(self, number: int, advance: Advance) -> None:
        self.written.append(number)
        ids = [f"{number}/{row}" for row in range(2)]
        write_embeddings(self.folder, number, ids, np.full((2, 3), number + 1.0))
        advance(2)
        if number == 1 and self._spoiled:
            self._spoiled -= 1
            path = self.folder.path / "shard-000001.npy"
            path.write_bytes(path.read_bytes()[:-2] + b"xx")

    def check_source(self) -> None:
        if self._changes:
            raise UserError("The data changed while it was read")


def test_what_is_missing_is_written_and_counted(tmp_path: Path) -> None:
    counted: list[int] = []
    first = _Numbers(tmp_path)
    assert write_shards(first, (2, 2), counted.append) is None
    assert (first.written, counted) == ([1, 3], [2, 2])
    second = _Numbers(tmp_path)
    manifest = write_shards(second)
    assert second.written == [0, 2]
    assert manifest is not None
    ids = EmbeddingShards(tmp_path).sample(None)[0]
    assert ids == [f"{number}/{row}" for number in range(4) for row in range(2)]
    third = _Numbers(tmp_path)
    assert write_shards(third) == manifest
    assert third.written == []


def test_a_shard_that_another_writer_finished_is_left_alone(tmp_path: Path) -> None:
    _Numbers(tmp_path).write(1, lambda _: None)
    late = _Numbers(tmp_path)
    late.write_missing(1, lambda _: None)
    assert late.written == []


def test_a_damaged_shard_is_written_again(tmp_path: Path) -> None:
    writer = _Numbers(tmp_path, spoiled=1)
    assert write_shards(writer) is not None
    assert writer.written == [0, 1, 2, 3, 1]
    assert len(EmbeddingShards(tmp_path).sample(None)[0]) == 8


def test_a_shard_damaged_earlier_is_written_again(tmp_path: Path) -> None:
    write_shards(_Numbers(tmp_path))
    (tmp_path / "shard-000002.ids.json").write_text("[]")
    writer = _Numbers(tmp_path)
    assert write_shards(writer) is not None
    assert writer.written == [2]
    assert len(EmbeddingShards(tmp_path).sample(None)[0]) == 8


def test_a_shard_that_stays_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shard-000001 is damaged again .* Check the disk"):
        write_shards(_Numbers(tmp_path, spoiled=2))
    assert not (tmp_path / "manifest.json").exists()


def test_a_source_that_changed_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="changed while it was read"):
        write_shards(_Numbers(tmp_path, changes=True))
    assert not (tmp_path / "manifest.json").exists()


def test_too_many_bad_items_are_told() -> None:
    plan = ShardPlan(max_skipped_share=0.25)
    plan.refuse_too_many([("a.png", "damaged")], 4)
    with pytest.raises(UserError, match=r"2 of 4 items .* First: a.png: damaged"):
        plan.refuse_too_many([("a.png", "damaged"), ("b.png", "damaged")], 4)

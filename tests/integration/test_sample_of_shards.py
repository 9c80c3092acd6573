"""Heads trained on a sample of shards; the chosen one sorts all rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from spice_keras.shards.embeddings import write_embeddings
from spice_keras.shards.folder import ShardFolder
from tests.integration.conftest import unverified
from tests.integration.tiny import invoke

pytestmark = pytest.mark.integration
_DIM, _CLUSTERS, _ROWS = 12, 3, (150, 90, 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of rows about three directions; an id ends in the number of the direction."""
    folder = tmp_path_factory.mktemp("sample")
    shards = ShardFolder(folder / "shards", {"kind": "embeddings", "dim": _DIM}, len(_ROWS))
    generator = np.random.default_rng(0)
    for number, count in enumerate(_ROWS):
        groups = generator.integers(0, _CLUSTERS, count)
        rows = 5.0 * np.eye(_CLUSTERS, _DIM)[groups] + generator.normal(size=(count, _DIM))
        ids = [f"{number}-{row}-{group}" for row, group in enumerate(groups)]
        write_embeddings(shards, number, ids, rows)
    shards.finish()
    return folder


def test_a_sample_trains_and_everything_is_sorted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    unverified(monkeypatch)
    said = invoke(
        "self", "--embeddings", "shards", "--sample", 120, "--clusters", _CLUSTERS,
        "--set", "self.neighbors.epochs=6", "--set", "self.num_heads=3",
        "--set", "evaluate.map_method=pca",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "sort: 300 items sorted by the head that 120 of them trained" in said.stderr
    run = folder / "runs" / "shards"
    with (run / "assignments.csv").open(encoding="utf-8") as file:
        sample = {row["image"]: row["cluster"] for row in csv.DictReader(file)}
    assert len(sample) == 120
    tables = sorted((run / "artifacts" / "sorted").glob("*.csv"))
    assert [table.name for table in tables] == [f"shard-{n:06d}.csv" for n in range(3)]
    found: dict[str, str] = {}
    for table, count in zip(tables, _ROWS, strict=True):
        with table.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        found |= {row["image"]: row["cluster"] for row in rows}
    assert {name: found[name] for name in sample} == sample
    groups = [{cluster for name, cluster in found.items() if name[-1] == str(g)} for g in range(3)]
    pairs = {(name[-1], cluster) for name, cluster in found.items()}
    assert len(pairs) < 9, "clusters have nothing to do with the directions"
    assert all(groups)
    counts = json.loads((run / "artifacts" / "sorted" / "counts.json").read_text())
    assert counts["rows"] == sum(counts["counts"]) == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--embeddings", "rows.npy", "--sample", "50"), "drawn from a folder of shards"),
        (("--images", ".", "--sample", "50"), "--embeddings FOLDER"),
        (("--embeddings", "."), "holds no shards"),
    ],
)
def test_what_has_no_shards_has_no_sample(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(folder)
    np.save("rows.npy", np.eye(9, 4))
    said = invoke("run", *arguments, "--clusters", "3")
    assert said.exit_code == 2, said.output
    assert message in said.output
    assert "Traceback" not in said.output

"""A run on a file of embeddings: no image, no encoder, everything else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click.testing
import numpy as np
import pytest

from spice_keras import scratch
from tests.integration.conftest import unverified
from tests.integration.tiny import invoke, metrics

_COUNT, _DIM, _CLUSTERS = 120, 12, 3
_FEW = ("--set", "self.neighbors.epochs=4", "--set", "self.num_heads=3",
        "--set", "evaluate.map_method=pca")  # fmt: skip


def _write(path: Path, *, labels: bool) -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(_COUNT) % _CLUSTERS
    features = 4.0 * np.eye(_CLUSTERS, _DIM)[groups] + generator.normal(size=(_COUNT, _DIM))
    ids = np.array([f"item {row}" for row in range(_COUNT)])
    extra = {"labels": groups} if labels else {}
    np.savez(path, features=features, ids=ids, **extra)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embeddings")
    _write(folder / "blobs.npz", labels=True)
    _write(folder / "bare.npz", labels=False)
    return folder


@pytest.fixture(autouse=True)
def _unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run of `result` is exported and checked; the others only exported."""
    unverified(monkeypatch)


@pytest.fixture(scope="module")
def result(folder: Path) -> click.testing.Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return invoke("self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS, *_FEW)


def test_one_command_does_it(folder: Path, result: click.testing.Result) -> None:
    assert result.exit_code == 0, result.output
    run = folder / "runs" / "blobs"
    found = metrics(run)
    assert found["self"]["acc"] > 0.95
    assert found["self"]["objective"] == "neighbors"
    assert found["kmeans_embeddings"]["acc"] is not None
    assert found["semi"] is None
    assert found["kmeans_pixels"] is None
    assert "item 7" in (run / "report.html").read_text("utf-8")
    assert not (run / "artifacts" / "encoder").exists()


def test_rows_in_files_give_the_same_run_to_the_bit(
    folder: Path, result: click.testing.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(scratch, "LARGE_BYTES", 1)
    said = invoke(
        "self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS, *_FEW,
        "--run-dir", "runs/mapped",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    memory, mapped = folder / "runs" / "blobs", folder / "runs" / "mapped"
    for name in ("assignments.csv", "outliers.csv", "metrics.json"):
        assert (mapped / name).read_bytes() == (memory / name).read_bytes(), name
    for name in ("images", "embeddings", "heads"):
        for path in sorted((memory / "artifacts" / name).glob("*.npy")):
            again = mapped / "artifacts" / name / path.name
            assert again.read_bytes() == path.read_bytes(), path.name
    assert [path.name for path in mapped.rglob(".*")] == []


def test_the_number_of_clusters_is_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    arguments = ["self", "--embeddings", "blobs.npz", "--clusters", "auto", *_FEW]
    arguments += ["--run-dir", "runs/auto", "--set", "export.directory=auto_models"]
    said = invoke(*arguments)
    assert said.exit_code == 0, said.output
    assert "groups: " in said.stderr
    assert metrics(folder / "runs" / "auto")["num_clusters"] == _CLUSTERS
    again = invoke(*arguments, "--resume")
    assert again.exit_code == 0, again.output
    assert "3 clusters, as this run began" in again.stderr


def test_auto_is_for_commands_that_begin_a_run(
    folder: Path, result: click.testing.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    said = invoke("eval", "--run-dir", "runs/blobs", "--clusters", "auto")
    assert said.exit_code == 2
    said = invoke("self", "--embeddings", "blobs.npz", "--clusters", "many")
    assert said.exit_code == 2
    assert "neither a whole number nor auto" in said.stderr


def test_given_words_name_the_clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = np.array(["apple", "boat", "cat", "door"])
    np.savez("words.npz", names=words, vectors=np.eye(4, _DIM, dtype=np.float32))
    said = invoke(
        "self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS, *_FEW,
        "--run-dir", "runs/named", "--words", "words.npz",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    run = folder / "runs" / "named"
    assert {one["name"] for one in metrics(run)["names"]} == {"apple", "boat", "cat"}
    with (run / "assignments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ["apple", "boat", "cat"]
    right = [row["cluster_name"] == kinds[number % 3] for number, row in enumerate(rows)]
    assert np.mean(right) > 0.95
    assert "apple" in (run / "report.html").read_text("utf-8")
    model = sorted((folder / "saved_models" / "blobs").iterdir())[-1]
    told = invoke("predict", model, "blobs.npz")
    assert told.exit_code == 0, told.output
    assert {line.rsplit(",", 1)[1] for line in told.stdout.splitlines()[1:]} == set(kinds)
    unnamed = invoke("name", "runs/named", "--words", "none")
    assert unnamed.exit_code == 0, unnamed.output
    assert {one["name"] for one in metrics(run)["names"]} == {None}


def test_words_guide_the_clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    generator = np.random.default_rng(1)
    vectors = np.repeat(np.eye(4, _DIM), 6, axis=0) + 0.1 * generator.normal(size=(24, _DIM))
    np.savez("nouns.npz", names=np.array([f"noun {i}" for i in range(24)]), vectors=vectors)
    arguments = ["self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS]
    arguments += ["--set", "self.objective=sic", "--set", "self.num_heads=2"]
    arguments += ["--set", "self.sic.epochs=20", "--set", "self.sic.learning_rate=0.01"]
    arguments += ["--set", "self.sic.words_per_cluster=4", "--set", "evaluate.map_method=pca"]
    said = invoke(*arguments, "--run-dir", "runs/sic", "--words", "nouns.npz")
    assert said.exit_code == 0, said.output
    found = metrics(folder / "runs" / "sic")
    assert found["self"]["objective"] == "sic"
    assert found["self"]["acc"] > 0.9
    assert found["expected_accuracy"] is None
    said = invoke(*arguments, "--run-dir", "runs/no-words")
    assert said.exit_code == 2
    assert "SIC needs words" in said.stderr


def test_words_that_do_not_fit_are_refused_before_anything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    np.savez("few.npz", names=np.array(["a", "b"]), vectors=np.eye(2, _DIM, dtype=np.float32))
    arguments = ["self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS]
    for words, message in (("few.npz", "too few for 3 clusters"), ("gone.npz", "gone.npz")):
        said = invoke(*arguments, "--run-dir", "runs/refused", "--words", words)
        assert said.exit_code == 2
        assert message in said.stderr
        assert not (folder / "runs" / "refused").exists()


def test_neighbors_can_be_searched_approximately(
    folder: Path, result: click.testing.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So few rows lie in one cell, so that both searches find the same."""
    monkeypatch.chdir(folder)
    options = ("--set", "embed.neighbor_search=approximate", "--set", "embed.recall=0.9")
    said = invoke(
        "self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS, *_FEW, *options,
        "--run-dir", "runs/cells",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "so the search is exact" in said.stderr
    tables = [(folder / "runs" / name / "assignments.csv") for name in ("blobs", "cells")]
    assert tables[0].read_text("utf-8") == tables[1].read_text("utf-8")


def test_every_row_has_its_cluster(folder: Path, result: click.testing.Result) -> None:
    path = folder / "runs" / "blobs" / "assignments.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"item {row}" for row in range(_COUNT)]


def test_the_saved_model_takes_embeddings(
    folder: Path, result: click.testing.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    noted = folder / "runs" / "blobs" / "artifacts" / "export" / "export.json"
    model = json.loads(noted.read_text(encoding="utf-8"))["path"]  # others export there too
    said = invoke("predict", model, "bare.npz")
    assert said.exit_code == 0, said.output
    predicted = [line.split(",")[1] for line in said.stdout.splitlines()[1:]]
    with (folder / "runs" / "blobs" / "assignments.csv").open(encoding="utf-8") as file:
        assert predicted == [row["cluster"] for row in csv.DictReader(file)]


def test_embeddings_of_another_width_are_refused(
    folder: Path, result: click.testing.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    np.save(folder / "wide.npy", np.ones((4, _DIM + 1)))
    said = invoke("predict", "saved_models/blobs/1", "wide.npy")
    assert said.exit_code == 2
    assert f"embeddings of {_DIM} features" in said.stderr


@pytest.mark.parametrize("objective", ["neighbors", "prototypes"])
def test_every_row_can_be_a_cluster_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("few.npy", np.random.default_rng(0).normal(size=(24, 6)))
    options = ("--set", f"self.objective={objective}", "--set", "self.epochs=2", *_FEW)
    said = invoke("self", "--embeddings", "few.npy", "--clusters", "24", *options)
    assert said.exit_code == 0, said.output
    assert len(metrics(tmp_path / "runs" / "few")["self"]["cluster_sizes"]) == 24


def test_the_papers_objective_runs_on_them_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    options = ("--set", "self.objective=prototypes", "--set", "self.epochs=2", *_FEW)
    said = invoke("self", "--embeddings", "bare.npz", "--clusters", _CLUSTERS, *options)
    assert said.exit_code == 0, said.output
    found = metrics(folder / "runs" / "bare")
    assert found["self"]["acc"] is None
    expected = found["expected_accuracy"]  # the mapping was tried on such heads
    assert 0 < expected["low"] < expected["acc"] < expected["high"] < 1
    assert "Expected accuracy" in (folder / "runs" / "bare" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--embeddings", "gone.npz", "--clusters", "3"), "no such file"),
        (("--embeddings", "blobs.npz"), "--clusters K"),
        (("--embeddings", "blobs.npz", "--clusters", "1001"), "ask for at most 120"),
        (("--embeddings", "blobs.npz", "--images", ".", "--clusters", "3"), "two sources"),
        (
            ("--embeddings", "blobs.npz", "--clusters", "3", "--set", "semi.enabled=true"),
            "semi.enabled",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    folder: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    said = invoke("self", *arguments, "--run-dir", "refused")
    assert said.exit_code == 2
    assert message in said.stderr
    assert not (folder / "refused").exists()

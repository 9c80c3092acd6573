"""The pipeline from Python: a run of embeddings, what it returns and what it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spice_keras.config import RunConfig, load_config
from spice_keras.pipeline import RunResult, run_all

_STAGES = ["images", "embed", "self", "reliable", "name", "eval", "export"]


def _config(folder: Path, **options: object) -> RunConfig:
    overrides = {
        "data.path": str(folder / "blobs.npz"),
        "num_clusters": 3,
        "self.num_heads": 2,
        "self.neighbors.epochs": 3,
        "evaluate.kmeans_restarts": 2,
        "evaluate.map_method": "pca",
        "export.directory": str(folder / "saved_models"),
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    return load_config("embeddings", overrides=overrides)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    generator = np.random.default_rng(0)
    groups = np.arange(90) % 3
    features = 4.0 * np.eye(3, 8)[groups] + generator.normal(size=(90, 8))
    np.savez(folder / "blobs.npz", features=features, labels=groups)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> RunResult:
    return run_all(_config(folder), folder / "run")


def _written(run: Path) -> dict[str, int]:
    """When each artifact was written."""
    manifests = (run / "artifacts").glob("*/manifest.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in manifests}


def test_a_run_returns_where_everything_lies(folder: Path, result: RunResult) -> None:
    assert result.path == folder / "run"
    assert (result.path / "report.html").is_file()
    assert result.metrics == json.loads((result.path / "metrics.json").read_text("utf-8"))
    assert result.metrics["self"]["acc"] > 0.9
    assert (result.saved_model / "saved_model.pb").is_file()


def test_the_stages_of_embeddings_run_in_order(result: RunResult) -> None:
    assert list(json.loads((result.path / "timings.json").read_text("utf-8"))) == _STAGES


def test_resuming_a_finished_run_gives_the_same_and_writes_nothing(
    folder: Path, result: RunResult
) -> None:
    before = _written(result.path)
    assert run_all(_config(folder), result.path, resume=True) == result
    assert _written(result.path) == before

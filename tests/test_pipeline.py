"""The pipeline from Python: a run of embeddings, what it returns and what it keeps."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.pipeline import RunResult, run_all
from spice_keras.stages import evaluate as evaluate_module
from spice_keras.stages import export as export_module

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


def _models(folder: Path, name: str) -> list[str]:
    parent = folder / "saved_models" / name
    return sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []


def _before_evaluation(result: RunResult, run: Path) -> Path:
    """A copy of a run that is neither judged nor exported yet."""
    shutil.copytree(result.path, run)
    for name in ("evaluation", "export"):
        shutil.rmtree(run / "artifacts" / name)
    (run / "report.html").unlink()
    return run


def test_the_model_is_checked_while_the_run_is_evaluated(
    folder: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in between, the run has neither, and `resume` makes both."""
    run = _before_evaluation(result, folder / "interrupted")
    options = {"export__name": "interrupted"}
    seen = []

    def interrupted(context: object) -> None:
        (aside,) = (folder / "saved_models" / "interrupted").iterdir()
        seen.append((aside / "saved_model.pb").is_file())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_module, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_all(_config(folder, **options), run, resume=True)
    assert seen == [True]
    assert _models(folder, "interrupted") == []
    done = run_all(_config(folder, **options), run, resume=True)
    assert done.saved_model == folder / "saved_models" / "interrupted" / "1"
    assert done.metrics == result.metrics


def test_a_model_that_cannot_be_written_keeps_no_report_from_being_made(
    folder: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _before_evaluation(result, folder / "full")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_module, "export_embedding_clusterer", full)
    with pytest.raises(UserError, match=r"cannot be written to .*full: No space left"):
        run_all(_config(folder, export__name="full"), run, resume=True)
    assert (run / "report.html").is_file()
    assert json.loads((run / "metrics.json").read_text("utf-8")) == result.metrics
    assert _models(folder, "full") == []

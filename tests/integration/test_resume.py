"""A run that is killed twice and continued ends as one that never was, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import Finished, unverified
from tests.integration.tiny import (
    ROOT,
    artifact_files,
    figures,
    invoke,
    metrics,
    shapes,
    write_tiny,
)


def _epochs(run: Path, stage: str) -> list[int]:
    """The epochs of a stage that are logged whole."""
    path = run / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [row["epoch"] for row in rows if row["stage"] == stage]


@dataclass(frozen=True)
class Killed:
    """What a killed process left: epochs logged, its checkpoint, the artifacts."""

    epochs: list[int]
    checkpoint: int
    artifacts: set[str]


def _killed_in(run: Path, stage: str, epochs: int, *arguments: str) -> Killed:
    """Run the command in a process that is killed once a stage has logged some epochs."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.integration.killed", stage, str(epochs), *arguments],
        cwd=run.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    checkpoints = sorted((run / "checkpoints" / stage).glob("epoch-*"))
    artifacts = {path.parent.name for path in (run / "artifacts").glob("*/manifest.json")}
    return Killed(_epochs(run, stage), int(checkpoints[-1].name[-7:]), artifacts)


@dataclass(frozen=True)
class Continued:
    """The run, and how it was interrupted."""

    run: Path
    pretraining: Killed
    semi: Killed
    said: str


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    folder = write_tiny(tmp_path_factory.mktemp("killed"), labels=shapes()[1])
    run = folder / "run"
    arguments = ("run", "tiny.yaml", "--run-dir", "run")
    first = _killed_in(run, "pretrain", 3, *arguments)
    second = _killed_in(run, "semi", 3, *arguments, "--resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        unverified(patch)
        result = invoke(*arguments, "--resume")
    assert result.exit_code == 0, result.output
    return Continued(run, first, second, result.stderr)


def test_it_was_killed_in_the_middle(continued: Continued) -> None:
    assert "encoder" not in continued.pretraining.artifacts
    assert continued.pretraining.checkpoint == 2
    assert continued.pretraining.epochs == [0, 1, 2]
    assert "reliable" in continued.semi.artifacts
    assert "classifier" not in continued.semi.artifacts
    assert 1 <= continued.semi.checkpoint < 8


def test_it_went_on_where_it_was(continued: Continued) -> None:
    assert f"semi: continues after epoch {continued.semi.checkpoint} of 8." in continued.said
    assert "pretrain:" not in continued.said


def test_every_artifact_is_the_same_to_the_bit(continued: Continued, finished: Finished) -> None:
    """Weights, features, heads, labels and figures; where the SavedModel lies is its own."""
    expected = artifact_files(finished.run, without=("export",))
    assert "classifier/network.weights.h5" in expected
    assert artifact_files(continued.run, without=("export",)) == expected


def test_so_are_the_tables_and_figures(continued: Continued, finished: Finished) -> None:
    for name in ("assignments.csv", "metrics.json", "plan.json", "skipped.csv", "config.yaml"):
        assert (continued.run / name).read_bytes() == (finished.run / name).read_bytes(), name
    assert metrics(continued.run)["semi"]["acc"] is not None


def test_every_epoch_is_logged_once_with_the_same_figures(
    continued: Continued, finished: Finished
) -> None:
    assert figures(continued.run) == figures(finished.run)
    assert _epochs(continued.run, "pretrain") == list(range(12))
    assert _epochs(continued.run, "self") == list(range(2))
    assert _epochs(continued.run, "semi") == list(range(8))


def test_no_checkpoint_and_nothing_half_written_is_left(continued: Continued) -> None:
    assert list((continued.run / "checkpoints").iterdir()) == []
    assert not [path for path in continued.run.rglob(".*")]

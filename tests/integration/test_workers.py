"""A run that two workers share: who writes, what a killed worker does, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from spice_keras.run import local_workers
from spice_keras.run.configuration import read_run_config
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Classifier, Heads
from spice_keras.runtime import dtype_policy
from spice_keras.training.checkpoint_files import checkpoints_in
from tests.integration.conftest import Finished, MadeOnce
from tests.integration.tiny import ROOT, invoke, shapes, write_tiny

_LATER = ("heads", "reliable", "classifier", "names", "evaluation", "export")
# Run in a worker: any file that Python opens for writing below the run directory is an error.
_WRITES_NOTHING = """
import sys
def refuse(event, arguments):
    path = str(arguments[0]) if arguments else ""
    changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
    changes |= event == "open" and bool((arguments[2] or 0) & 3)
    if changes and "/shared/" in path:
        raise SystemExit(f"a worker wrote {path}")
sys.addaudithook(refuse)
from spice_keras.cli import main
main()
"""


@dataclass(frozen=True)
class Shared:
    """A run that lost a worker in SPICE-Semi: the chief's exit code, and what both said."""

    run: Path
    code: int
    said: str
    worker_said: str


def _start(folder: Path, index: int, addresses: list[str]) -> subprocess.Popen[bytes]:
    program = ["-m", "spice_keras.cli"] if index == 0 else ["-c", _WRITES_NOTHING]
    options = ["run", "tiny.yaml", "--run-dir", "shared", "--resume", "--strategy", "multiworker"]
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": {"worker": addresses}, "task": task})
    with (folder / f"said-{index}.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, *program, *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CONFIG": config},
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def _lose_a_worker(folder: Path, finished: Finished) -> None:
    """Let two workers go on with a run without heads; kill one once SPICE-Semi has a checkpoint."""
    write_tiny(folder, labels=shapes()[1])
    run = folder / "shared"
    shutil.copytree(finished.run, run)
    for artifact in _LATER:
        shutil.rmtree(run / "artifacts" / artifact)
    addresses = local_workers._free_addresses(2)
    chief, other = (_start(folder, index, addresses) for index in (0, 1))
    try:
        while not checkpoints_in(run / "checkpoints" / "semi"):
            assert chief.poll() is None, (folder / "said-0.txt").read_text()
            time.sleep(0.02)
        other.kill()
        (folder / "code.txt").write_text(str(chief.wait(timeout=200)))
    finally:
        for process in (chief, other):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def shared(made_once: MadeOnce, finished: Finished) -> Shared:
    """A run that two workers went on with, until one was killed."""
    folder = made_once("shared", lambda folder: _lose_a_worker(folder, finished))
    texts = [(folder / name).read_text() for name in ("code.txt", "said-0.txt", "said-1.txt")]
    return Shared(folder / "shared", int(texts[0]), texts[1], texts[2])


def test_a_killed_worker_ends_the_run_with_one_message(shared: Shared) -> None:
    assert shared.code == 2, shared.said
    assert shared.said.count("Error:") == 1
    assert "Error: worker 1 (127.0.0.1:" in shared.said
    assert "Traceback" not in shared.said


def test_workers_share_the_steps_and_write_nothing(shared: Shared) -> None:
    """A file that a worker opens below the run directory would have ended it."""
    phases = [line for line in shared.worker_said.splitlines() if "takes part" in line]
    assert [line.rsplit(" ", 1)[1] for line in phases] == ["self.", "semi."]


def test_one_device_goes_on_from_the_checkpoint_of_two(
    shared: Shared, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads of two workers, and a classifier of two and then one, are those of one device."""
    monkeypatch.chdir(shared.run.parent)
    shutil.copytree(shared.run, tmp_path / "run")
    again = invoke("semi", "--run-dir", str(tmp_path / "run"), "--resume", "--strategy", "none")
    assert again.exit_code == 0, again.output
    assert "continues after epoch" in again.output
    one, two = (
        Context(read_run_config(path), RunDirectory(path))
        for path in (finished.run, tmp_path / "run")
    )
    largest = 0.05 if dtype_policy(one.config.precision) == "float32" else 0.1
    for kind in (Heads, Classifier):
        expected, found = (context.load(kind).probabilities for context in (one, two))
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
        np.testing.assert_allclose(found, expected, atol=largest)
        assert np.abs(found - expected).mean() < 0.02

"""`spice launch`: processes that know of each other, and how they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spice_keras.errors import UserError
from spice_keras.run.local_workers import run_local_workers

_INDEX = "import json, os; index = json.loads(os.environ['TF_CONFIG'])['task']['index']; "


def _run(code: str, folder: Path, workers: int = 2) -> int:
    return run_local_workers([sys.executable, "-c", _INDEX + code], workers, folder / "logs")


def test_each_is_another_worker(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "print(index, len(set(json.loads(os.environ['TF_CONFIG'])['cluster']['worker'])))"
    assert _run(code, tmp_path, workers=3) == 0
    assert capfd.readouterr().out == "0 3\n"
    logs = [(tmp_path / "logs" / f"worker-{k}.log").read_text() for k in (1, 2)]
    assert logs == ["1 3\n", "2 3\n"]


@pytest.mark.parametrize(
    ("end", "code"), [("raise SystemExit(7)", 7), ("os.kill(os.getpid(), 9)", 137)]
)
def test_one_that_ends_badly_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, code: int
) -> None:
    monkeypatch.setattr("spice_keras.run.local_workers._GRACE", 0.3)
    script = f"import time\nif index == 1: {end}\ntime.sleep(600)"
    assert _run("pass\n" + script, tmp_path) == code


def test_a_signal_is_passed_on(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: (print('ended', index), sys.exit(143))); "
        "open(f'up-{index}', 'w'); time.sleep(600)"
    )
    command = [sys.executable, "-m", "spice_keras.cli", "launch", "--", sys.executable, "-c"]
    process = subprocess.Popen(
        [*command, _INDEX + script], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )  # fmt: skip
    while not all((tmp_path / f"up-{k}").exists() for k in (0, 1)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "ended 0\n")
    assert (tmp_path / "worker-logs" / "worker-1.log").read_text() == "ended 1\n"


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be started"):
        run_local_workers(["no-such-program"], 2, tmp_path)

"""One command at a time in a run directory, and folders that two commands never share."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from spice_keras.errors import UserError
from spice_keras.progress import Screen
from spice_keras.run.directory import RunDirectory
from spice_keras.run.lock import LOCK, FolderInUse, claim_run_dir, release_claims, run_lock

_HOLD = """
import sys, time
from pathlib import Path
from spice_keras.run.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that holds tmp_path/run."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_in_use_is_refused_with_who_uses_it(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    try:
        with pytest.raises(FolderInUse) as caught, run_lock(tmp_path / "run"):
            pass
    finally:
        other.kill()
        other.communicate()
    said = str(caught.value)
    assert f"process {other.pid} on " in said
    assert "`-c " in said
    assert "since 20" in said
    assert "--run-dir" in said


def test_a_killed_holder_blocks_nobody_and_is_named(
    tmp_path: Path, other: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    assert (tmp_path / "run" / LOCK).is_file()
    with run_lock(tmp_path / "run", Screen()):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
    assert f"process {other.pid} on" in capsys.readouterr().err
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_that_another_host_left_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"host": "elsewhere", "process": 7, "command": "spice run", "since": "2026-01-01"}
    (tmp_path / LOCK).write_text(json.dumps(facts))
    with run_lock(tmp_path, Screen()):
        pass
    assert "`spice run` (process 7 on elsewhere, since 2026-01-01)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', '{"process": []}'])
def test_a_lock_without_a_readable_text_is_taken_over(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with run_lock(tmp_path):
        pass


def test_blocks_of_one_thread_lie_in_one_another(tmp_path: Path) -> None:
    refused = []

    def try_it() -> None:
        try:
            with run_lock(tmp_path):
                pass
        except FolderInUse as error:
            refused.append(error)

    with run_lock(tmp_path):
        with run_lock(tmp_path):
            pass
        assert (tmp_path / LOCK).is_file()
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(UserError), run_lock(tmp_path / "a"):
        raise UserError("the images are missing")
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    with run_lock(tmp_path / "b"):
        pass
    assert (tmp_path / "b").is_dir(), "somebody else's"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/run")):
        with pytest.raises(UserError, match=r"run directory .*--run-dir"), run_lock(path):
            pass


def _claim(folder: str) -> str:
    os.chdir(folder)
    path = claim_run_dir("photos")
    RunDirectory.create(path, {"name": "photos"})
    return str(path)


def test_commands_started_together_take_different_folders(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        found = list(pool.map(_claim, [str(tmp_path)] * 6, timeout=120))
    expected = ["runs/photos", *(f"runs/photos-{number}" for number in range(2, 7))]
    assert sorted(found) == expected


def test_what_a_command_left_that_was_killed_at_once_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/photos")
    folder.mkdir(parents=True)
    (folder / LOCK).write_text("")
    (folder / ".config.yaml.0123abcd").write_text("half")
    assert claim_run_dir("photos") == folder
    RunDirectory.create(folder, {})
    release_claims()
    assert {path.name for path in folder.iterdir()} == {"config.yaml"}


def test_a_claim_that_is_not_used_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert claim_run_dir("photos") == Path("runs/photos")
    assert claim_run_dir("photos") == Path("runs/photos-2")
    release_claims()
    assert list(Path("runs").iterdir()) == []

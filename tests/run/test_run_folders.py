"""Which run directory a command means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spice_keras.errors import UserError
from spice_keras.run.directory import latest_run_dir, must_hold_run
from spice_keras.run.lock import free_run_dir


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _begin(name: str, time: int) -> Path:
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    os.utime(folder / "config.yaml", (time, time))
    return folder


def test_a_name_that_is_taken_gets_a_number() -> None:
    for expected in ("digits", "digits-2", "digits-3"):
        folder = free_run_dir("digits")
        assert folder == Path("runs") / expected
        folder.mkdir(parents=True)


def test_the_run_begun_last_is_gone_on_with() -> None:
    first, second = _begin("digits-2", 200), _begin("photos", 300)
    _begin("digits", 100)
    (Path("runs") / "nothing").mkdir()
    assert latest_run_dir(None) == second
    assert latest_run_dir("digits") == first


def test_another_runs_name_is_not_taken_for_this_one() -> None:
    _begin("digits-small", 100)
    with pytest.raises(UserError, match=r"no run directory runs/digits .*--run-dir"):
        latest_run_dir("digits")


def test_without_any_run_it_says_how_to_begin() -> None:
    with pytest.raises(UserError, match=r"runs/NAME to go on with.*spice pretrain"):
        latest_run_dir(None)


def test_a_folder_without_a_run_is_nothing_to_go_on_with() -> None:
    must_hold_run(_begin("a", 1))
    with pytest.raises(UserError, match="elsewhere holds no run to go on with"):
        must_hold_run(Path("elsewhere"))

"""A SavedModel that a killed export left unnoted goes; one that is noted, or another's, stays."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from spice_keras.config import load_config
from spice_keras.files import give_number, unnumbered_folder
from spice_keras.progress import silent_screen
from spice_keras.run.directory import RunDirectory
from spice_keras.run.exporting import EXPORTING, claim_export, remove_unnoted_export
from spice_keras.run.lock import LOCK
from spice_keras.run.request import PreparedRun
from spice_keras.run.store import Export


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", {"name": "x"})


def _put(run: RunDirectory, parent: Path, text: str) -> Path:
    with unnumbered_folder(parent) as folder:
        (folder / "saved_model.pb").write_text(text)
        claim_export(run, folder)
        return give_number(folder)


def _note(run: RunDirectory, path: Path) -> None:
    with run.write(Export.name, stage=Export.stage) as folder:
        Export(path).save(folder)


def test_what_was_put_in_place_and_not_noted_goes(run: RunDirectory, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first = _put(run, models, "first")
    _note(run, first)
    remove_unnoted_export(run)
    second = _put(run, models, "second")  # killed here
    other = models / "3"
    other.mkdir()
    (other / "saved_model.pb").write_text("another run")
    remove_unnoted_export(run)
    assert first.is_dir()
    assert not second.exists()
    assert other.is_dir()
    assert not (run.path / EXPORTING).exists()


def test_what_was_noted_before_the_kill_stays(run: RunDirectory, tmp_path: Path) -> None:
    made = _put(run, tmp_path / "models", "text")
    _note(run, made)
    remove_unnoted_export(run)
    assert made.is_dir()
    assert not (run.path / EXPORTING).exists()


@pytest.mark.parametrize("text", ["", "null", "[]", '{"parent": 3, "files": {}}', "[" * 100_000])
def test_a_damaged_claim_removes_nothing(run: RunDirectory, tmp_path: Path, text: str) -> None:
    made = _put(run, tmp_path / "models", "text")
    (run.path / EXPORTING).write_text(text)
    remove_unnoted_export(run)
    assert made.is_dir()
    assert not (run.path / EXPORTING).exists()


def test_other_formats_are_written_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spice_keras.stages import convert

    command = importlib.import_module("spice_keras.commands.export")
    config = load_config("digits")
    run = RunDirectory.create(tmp_path / "run", config.as_dict())
    held = []
    monkeypatch.setattr(convert, "convert_run", lambda *_: held.append(is_held(run)))
    prepared = PreparedRun(config, run.path, None, None)
    command._convert(prepared, [object()], silent_screen())
    assert held == [True]
    assert not is_held(run)


def is_held(run: RunDirectory) -> bool:
    return (run.path / LOCK).is_file()

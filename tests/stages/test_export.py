"""Export: versions, and a model that says something else is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.run.store import Export
from spice_keras.serving.check import Checker
from spice_keras.serving.facts import read_facts
from spice_keras.stages import export as export_module
from spice_keras.stages.export import calibrated_threshold, export
from spice_keras.stages.reliable import select_reliable
from tests.stages.made_run import (
    CLUSTERS,
    make_context,
    truth,
    write_classifier,
    write_heads,
)

_SAID = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
_IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


class _Process:
    """Stands for the separate process: what it is asked, and what it answers."""

    def __init__(self, answers: dict[str, Any] | None, errors: str = "") -> None:
        self.answers, self.errors, self.ends = answers, errors, 0
        self.stdin = self.stdout = self
        self._asked = 0

    def started(self, *_: object, stderr: IO[str], **__: object) -> _Process:
        stderr.write(self.errors)
        return self

    def write(self, request: str) -> None:
        _, items, target = json.loads(request)
        np.testing.assert_array_equal(np.load(items), _IMAGES)
        self._asked += 1
        if self.answers is not None:
            np.savez(target, **self.answers)

    def flush(self) -> None:
        if self.answers is None:
            raise BrokenPipeError

    def readline(self) -> str:
        return "done\n" if self._asked and self.answers is not None else ""

    def wait(self) -> None:
        assert self.answers is None, "it waits for another question"

    def kill(self) -> None:
        self.ends += 1

    def communicate(self) -> None:
        pass


def _checker(monkeypatch: pytest.MonkeyPatch, process: _Process) -> Checker:
    monkeypatch.setattr(subprocess, "Popen", process.started)
    return Checker()


def test_rounding_is_let_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _Process({"images": _SAID + 0.019, "serving_default": _SAID - 0.019})
    with _checker(monkeypatch, process) as checker:
        for _ in range(2):
            checker.ask(tmp_path, _IMAGES)
            checker.verify(_SAID)
        assert not process.ends
    assert process.ends


@pytest.mark.parametrize("endpoint", ["images", "serving_default"])
def test_another_answer_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    answers = {"images": _SAID, "serving_default": _SAID}
    answers |= {endpoint: _SAID + np.array([[0.0, 0.0], [0.03, -0.03]])}
    with _checker(monkeypatch, _Process(answers)) as checker:
        checker.ask(tmp_path, _IMAGES)
        with pytest.raises(RuntimeError, match=rf"endpoint {endpoint} differs .* by 0\.0300"):
            checker.verify(_SAID)


def test_a_model_that_does_not_load_is_told_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _checker(monkeypatch, _Process(None, "x" * 5000 + "no such op")) as checker:
        checker.ask(tmp_path, _IMAGES)
        with pytest.raises(RuntimeError, match=r"does not load:\nx+no such op") as caught:
            checker.verify(_SAID)
    assert len(str(caught.value)) < 2100


def test_the_process_itself_refuses_what_is_no_model(tmp_path: Path) -> None:
    with Checker() as checker:
        for _ in range(2):  # it has ended after the first
            checker.ask(tmp_path, _IMAGES)
            with pytest.raises(RuntimeError, match=r"does not load:\n(?s:.*)SavedModel"):
                checker.verify(_SAID)


def test_a_process_that_was_not_asked_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    process = _Process({})
    with pytest.raises(OSError, match="full"), _checker(monkeypatch, process):
        raise OSError("the disk is full")
    assert process.ends


class _Exports:
    """Stands for the model and its export; the run's answers are made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: list[tuple[Path, int]] = []
        monkeypatch.setattr(export_module, "build_final_clusterer", lambda context: None)
        monkeypatch.setattr(export_module, "model_bytes", lambda clusterer: 0)
        monkeypatch.setattr(export_module, "export_clusterer", self._write)
        monkeypatch.setattr(export_module, "Checker", lambda: self)

    def __enter__(self) -> _Exports:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _write(self, clusterer: None, folder: Path, **facts: Any) -> None:
        assert facts.pop("names") == ("",) * CLUSTERS
        self.unsure_below = facts.pop("unsure_below")
        assert facts.pop("max_pixels") > 0
        assert facts.pop("deep_range") is None
        (folder / "saved_model.pb").write_text(facts.pop("fit"))
        assert not facts

    def ask(self, folder: Path, images: np.ndarray) -> None:
        assert (folder / "spice.json").is_file()
        self.checked.append((folder, len(images)))

    def verify(self, probabilities: np.ndarray) -> None:
        assert len(probabilities) == self.checked[-1][1]


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> _Exports:
    return _Exports(monkeypatch)


def _finished(path: Path, **options: Any) -> Any:
    context = make_context(path, export__directory=str(path / "models"), **options)
    write_heads(context, truth())
    select_reliable(context)
    write_classifier(context, truth())
    return context


def test_each_export_is_a_version_that_was_checked_first(tmp_path: Path, exports: _Exports) -> None:
    context = _finished(tmp_path, name="mine")
    for version in ("1", "2"):
        target = export(context)
        assert target == tmp_path / "models" / "mine" / version
        assert context.load(Export).path == target
        assert (target / "saved_model.pb").read_text() == "crop"
        assert read_facts(target).unsure_below == pytest.approx(0.97)
        assert json.loads((target / "card.json").read_text())["clusters"]["number"] == CLUSTERS
        assert "## Limits" in (target / "card.md").read_text()
    assert len(exports.checked) == 2
    assert all(count == 16 and not folder.exists() for folder, count in exports.checked)
    assert sorted(p.name for p in (tmp_path / "models" / "mine").iterdir()) == ["1", "2"]


def test_a_version_that_another_run_took_meanwhile_is_left_alone(
    tmp_path: Path, exports: _Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "models" / "mine"

    def other_run(*arguments: Any) -> None:
        (parent / "1").mkdir()
        (parent / "1" / "saved_model.pb").write_text("the other's")

    monkeypatch.setattr(exports, "verify", other_run)
    context = _finished(tmp_path, name="mine")
    assert export(context) == parent / "2" == context.load(Export).path
    assert (parent / "1" / "saved_model.pb").read_text() == "the other's"
    assert (parent / "2" / "saved_model.pb").read_text() == "crop"


def test_a_model_that_fails_its_check_leaves_nothing(
    tmp_path: Path, exports: _Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("differs")

    monkeypatch.setattr(exports, "verify", fail)
    context = _finished(tmp_path, export__name="mine")
    with pytest.raises(RuntimeError, match="differs"):
        export(context)
    assert list((tmp_path / "models" / "mine").iterdir()) == []
    assert not context.run.has("export")


def test_the_threshold_of_doubt_is_what_is_asked_for(tmp_path: Path, exports: _Exports) -> None:
    target = export(_finished(tmp_path, export__unsure_below=0.25))
    assert exports.unsure_below == 0.25
    assert read_facts(target).unsure_below == 0.25


def test_the_threshold_of_doubt_by_hand() -> None:
    confidence = np.array([0.99, 0.9, 0.9, 0.8, 0.7], np.float32)
    agrees = np.array([True, True, True, True, True])
    assert calibrated_threshold(confidence, agrees) == pytest.approx(0.7)  # what is less is new
    agrees[4] = False
    assert calibrated_threshold(confidence, agrees) == pytest.approx(0.8)
    agrees[1] = False  # the two of .9 stand or fall together
    assert calibrated_threshold(confidence, agrees) == pytest.approx(0.99)
    assert calibrated_threshold(confidence, ~agrees & False) == 1.0


def test_a_place_that_cannot_be_written_is_a_users_error(tmp_path: Path, exports: _Exports) -> None:
    (tmp_path / "models").write_text("a file")
    context = _finished(tmp_path)
    with pytest.raises(UserError, match=r"cannot be written .*--set export\.directory="):
        export(context)

"""The examples, run as they stand."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

_EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
_SAID = {
    "clusterer": "new rows: clusters",
    "moco": "features (512, 64)",
    "serving": "7.png: cluster",
    "spice_self": "accuracy",
    "spice_semi": "accuracy",
}


def test_every_example_is_run() -> None:
    assert [path.stem for path in _EXAMPLES] == sorted(_SAID)


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert _SAID[path.stem] in capsys.readouterr().out

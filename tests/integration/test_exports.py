"""`spice export --format` and `spice predict` on a finished run, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from spice_keras.stages import convert as convert_module
from tests.integration.conftest import Quick
from tests.integration.tiny import COUNT, invoke


@pytest.fixture(scope="module")
def run(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without SPICE-Semi, its own copy."""
    folder = tmp_path_factory.mktemp("exports") / "run"
    shutil.copytree(quick.heads, folder)
    return folder


def test_a_run_is_exported_to_litert_and_keras(run: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
    result = invoke("export", str(run), "--format", "litert,keras", "--unsure-below", "0.5")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (run / "exports").iterdir()) == ["keras", "litert"]
    for name, file in (("litert", "model.tflite"), ("keras", "model.keras")):
        folder = run / "exports" / name
        told = json.loads((folder / "export.json").read_text("utf-8"))
        assert told["files"][file]["bytes"] == (folder / file).stat().st_size
        assert told["facts"]["unsure_below"] == 0.5
        assert told["same_cluster"] == 1.0
        assert told["loads_without_spice_keras"]
        card = json.loads((folder / "card.json").read_text("utf-8"))
        assert card["export"]["format"] == name
        assert "below a confidence of 0.5" in (folder / "card.md").read_text("utf-8")


def test_a_file_that_answers_otherwise_is_not_kept(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object, **options: object) -> dict[str, object]:
        answers = convert_module.plain_answers(*arguments, **options)
        return answers | {"probabilities": answers["probabilities"] + 0.01}

    monkeypatch.setattr(convert_module, "plain_answers", convert_module.ask_client, raising=False)
    monkeypatch.setattr(convert_module, "ask_client", wrong)
    shutil.rmtree(run / "exports", ignore_errors=True)
    result = invoke("export", str(run), "--format", "keras")
    assert result.exit_code != 0
    assert "differs from the model by 0.0100" in str(result.exception)
    assert list((run / "exports").iterdir()) == []


def test_exactly_as_many_as_may_move_are_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
    # A number of items for which one less the share that stays is more than the share that moves.
    moved = next(n for n in range(1, COUNT) if 1.0 - (COUNT - n) / COUNT > n / COUNT)
    honest = convert_module.ask_client

    def other(*arguments: Any, **options: Any) -> dict[str, Any]:
        answers = honest(*arguments, **options)
        answers["cluster"][:moved] += 1
        return answers

    monkeypatch.setattr(convert_module, "ask_client", other)
    for most, exit_code in ((moved / COUNT, 0), ((moved - 0.5) / COUNT, 2)):
        monkeypatch.setattr(convert_module, "_MOST_MOVED", most)
        result = invoke("export", str(run), "--format", "litert", "--precision", "float16")
        assert result.exit_code == exit_code, result.output
    shutil.rmtree(run / "exports")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "tflite"], "is not a format; the formats are savedmodel, keras, litert"),
        (
            ["--format", "keras", "--precision", "int8"],
            "can be written in float32. Received: --precision int8",
        ),
        (["--precision", "int8"], "--format savedmodel can be written in float32."),
        (["--unsure-below", "2"], "is not in the range"),
    ],
)
def test_what_cannot_be_exported_is_told(run: Path, arguments: list[str], message: str) -> None:
    result = invoke("export", str(run), *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_predict_takes_the_run(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(quick.folder)
    result = invoke("predict", "heads", "shapes.npz", "--second", "--quiet")
    assert result.exit_code == 0, result.output
    header, first, *_ = result.stdout.splitlines()
    assert header == (
        "image,cluster,confidence,name,second_choice,second_probability,second_name,unsure"
    )
    assert first.split(",")[1] != first.split(",")[4]
    result = invoke("predict", "heads", "shapes.npz", "--format", "parquet")
    assert result.exit_code == 2
    assert "name it with --output FILE" in result.output

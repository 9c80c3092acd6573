"""The pipeline: what runs in which order, what is kept, what is never overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from spice_keras import pipeline
from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.pipeline import run_stages
from spice_keras.run.configuration import open_run, read_run_config
from spice_keras.run.directory import RunDirectory
from spice_keras.run.stage_list import STAGES


@pytest.fixture
def config() -> RunConfig:
    return load_config("digits")


def test_stages_are_in_the_order_of_what_they_read() -> None:
    assert [stage.name for stage in STAGES] == [
        "images", "pretrain", "embed", "self", "reliable", "semi", "test", "eval",
        "export",
    ]  # fmt: skip
    assert len({stage.artifact for stage in STAGES}) == len(STAGES)
    for stage in STAGES:
        assert callable(stage.load())


def _complete(run: RunDirectory, *names: str) -> None:
    for name in names:
        with run.write(name, stage="test") as folder:
            (folder / "x").write_text("x")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the stages' names instead of the stages."""
    called: list[str] = []

    def load(stage: pipeline.Stage) -> Any:
        def run(context: Any) -> None:
            called.append(stage.name)
            _complete(context.run, stage.artifact)

        return run

    monkeypatch.setattr(pipeline.Stage, "load", load)
    monkeypatch.setattr(pipeline, "start_tensorflow", lambda precision: None)
    for module in ("evaluate", "true_labels"):
        monkeypatch.setattr(f"spice_keras.stages.{module}.read_labels", lambda context: None)
    monkeypatch.setattr("spice_keras.stages.ingest.keep_plan", lambda context: None)
    return called


_ALL = ("pretrain", "self", "semi", "eval", "export")
_NAMES = [stage.name for stage in STAGES if stage.name != "test"]  # of the protocol `whole`


def test_everything_runs_once_in_order(tmp_path: Path, config: RunConfig, calls: list[str]) -> None:
    run = run_stages(config, tmp_path / "run", commands=_ALL)
    assert calls == _NAMES
    assert list(json.loads((run.path / "timings.json").read_text())) == _NAMES


def test_what_is_finished_is_not_done_again(
    tmp_path: Path, config: RunConfig, calls: list[str]
) -> None:
    run_stages(config, tmp_path / "run", commands=_ALL)
    calls.clear()
    run_stages(config, tmp_path / "run", commands=_ALL, resume=True)
    assert calls == []


def test_what_is_finished_is_not_overwritten(
    tmp_path: Path, config: RunConfig, calls: list[str]
) -> None:
    run_stages(config, tmp_path / "run", commands=("pretrain",))
    calls.clear()
    with pytest.raises(UserError, match=r"already holds pretrain .*--resume.*--run-dir"):
        run_stages(config, tmp_path / "run", commands=_ALL)
    assert calls == []


def test_what_was_begun_is_not_begun_again(
    tmp_path: Path, config: RunConfig, calls: list[str]
) -> None:
    run = open_run(tmp_path / "run", config)
    (run.checkpoints / "pretrain").mkdir(parents=True)
    with pytest.raises(UserError, match="already holds pretrain"):
        run_stages(config, run.path, commands=("pretrain",))


def test_images_alone_are_no_obstacle(tmp_path: Path, config: RunConfig, calls: list[str]) -> None:
    _complete(open_run(tmp_path / "run", config), "images")
    run_stages(config, tmp_path / "run", commands=("pretrain",))
    assert calls == ["pretrain"]


def test_judging_can_be_repeated_at_any_time(
    tmp_path: Path, config: RunConfig, calls: list[str]
) -> None:
    run_stages(config, tmp_path / "run", commands=_ALL)
    calls.clear()
    run_stages(config, tmp_path / "run", commands=("eval",))
    run_stages(config, tmp_path / "run", commands=("export",))
    assert calls == ["eval", "export"]


@pytest.mark.parametrize(
    ("command", "again", "left"),
    [
        ("pretrain", ["pretrain"], ["images", "encoder"]),
        ("self", ["embed", "self", "reliable"],
         ["images", "encoder", "embeddings", "heads", "reliable"]),
        ("semi", ["semi"],
         ["images", "encoder", "embeddings", "heads", "reliable", "classifier"]),
    ],
)  # fmt: skip
def test_redoing_a_stage_forgets_what_was_made_of_it(
    tmp_path: Path,
    config: RunConfig,
    calls: list[str],
    command: str,
    again: list[str],
    left: list[str],
) -> None:
    run = run_stages(config, tmp_path / "run", commands=_ALL)
    for stage in ("pretrain", "self", "semi"):
        run.append_metrics({"stage": stage, "epoch": 0})
    calls.clear()
    run_stages(config, run.path, commands=(command,), redo=True)
    assert calls == again
    assert [stage.artifact for stage in STAGES if run.has(stage.artifact)] == left
    order = ["pretrain", "self", "semi"]
    kept = [stage for stage in order if run.metrics(stage)]
    assert kept == order[: order.index(command)]


def test_one_pretraining_serves_for_heads_of_another_kind(
    tmp_path: Path, config: RunConfig, calls: list[str]
) -> None:
    run = run_stages(config, tmp_path / "run", commands=_ALL)
    other = load_config("digits", overrides={"self.num_heads": 3})
    calls.clear()
    with pytest.raises(UserError, match="spice self --redo"):
        run_stages(other, run.path, commands=("self",), resume=True)
    assert run.has("heads")
    assert read_run_config(run.path) == config
    run_stages(other, run.path, commands=("self",), redo=True)
    assert calls == ["embed", "self", "reliable"]
    assert read_run_config(run.path) == other
    assert not run.has("classifier")


def test_what_was_judged_before_a_stage_was_trained_is_judged_again(
    tmp_path: Path, calls: list[str]
) -> None:
    heads_alone = load_config("digits", overrides={"semi.enabled": False})
    run = run_stages(heads_alone, tmp_path / "run", commands=_ALL)
    (run.path / "report.html").write_text("of the heads")
    calls.clear()
    run_stages(load_config("digits"), run.path, commands=_ALL, resume=True)
    assert calls == ["semi", "eval", "export"]
    assert not (run.path / "report.html").exists()


def test_without_semi_it_is_passed_over(tmp_path: Path, calls: list[str]) -> None:
    config = load_config("digits", overrides={"semi.enabled": False})
    run_stages(config, tmp_path / "run", commands=_ALL)
    assert calls == [name for name in _NAMES if name != "semi"]


def test_under_split_the_test_images_are_classified_before_evaluation(
    tmp_path: Path, calls: list[str]
) -> None:
    overrides = {"data.source": "arrays", "data.path": "a.npy", "data.test_path": "b.npy"}
    config = load_config("digits", overrides={**overrides, "data.protocol": "split"})
    run = run_stages(config, tmp_path / "run", commands=_ALL)
    assert calls == [stage.name for stage in STAGES]
    run_stages(config, run.path, commands=("semi",), redo=True)
    assert not run.has("test")
    calls.clear()
    run_stages(config, run.path, commands=("eval",))
    run_stages(config, run.path, commands=("eval",))
    assert calls == ["test", "eval", "eval"]


def test_times_of_interrupted_and_continued_stages_add_up(
    tmp_path: Path, config: RunConfig, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run", config)
    (run.path / "timings.json").write_text('{"pretrain": 100.0}')
    run_stages(config, run.path, commands=("pretrain",), resume=True)
    assert json.loads((run.path / "timings.json").read_text())["pretrain"] >= 100.0


def test_the_resolved_configuration_is_plain_yaml(tmp_path: Path, config: RunConfig) -> None:
    run = open_run(tmp_path / "run", config)
    values = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    assert values == config.as_dict()

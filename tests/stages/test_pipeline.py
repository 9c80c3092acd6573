"""The pipeline's guards: what makes a run another one, and what is never overwritten."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.artifacts import RunDirectory
from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.stages import pipeline
from spice_keras.stages.pipeline import (
    STAGES,
    differences,
    environment,
    open_run,
    read_run_config,
    run_stages,
)

_JUDGING = {
    "evaluate.map_method": "pca",
    "evaluate.kmeans_restarts": 3,
    "export.directory": "elsewhere",
    "export.name": "other",
    "data.labels": "none",
    "data.memory_limit_mb": 1,
}
_MAKING = {
    "seed": 5,
    "num_clusters": 4,
    "precision": "float32",
    "data.path": "x.npy",
    "data.image_size": 16,
    "pretrain.epochs": 3,
    "pretrain.views": {"policy": "upright", "rotate": 3.0},
    "self.num_heads": 2,
    "reliable.balance": "min",
    "semi.threshold": 0.9,
    "semi.backbone": {"width": 8},
}


def _changed(**options: Any) -> dict[str, Any]:
    overrides = {name.replace("__", "."): value for name, value in options.items()}
    base = load_config(overrides={"data.source": "arrays", "data.path": "data.npy"}).as_dict()
    return load_config(base=base, overrides=overrides).as_dict()


def _with(path: str, value: Any) -> dict[str, Any]:
    return _changed(**{path.replace(".", "__"): value})


@pytest.mark.parametrize("path", sorted(_JUDGING))
def test_what_only_judges_makes_no_other_run(path: str) -> None:
    asked = _with(path, _JUDGING[path])
    assert asked != _changed()
    assert differences(_changed(), asked) == []


@pytest.mark.parametrize("path", sorted(_MAKING))
def test_what_decides_the_result_does(path: str) -> None:
    lines = differences(_changed(), _with(path, _MAKING[path]))
    assert lines
    assert all(line.startswith(path) for line in lines)


def test_a_difference_names_both_values() -> None:
    assert differences(_changed(), _changed(seed=5)) == ["seed: 0 there, 5 asked for"]
    lines = differences(_changed(), _changed(semi__weak={"policy": "upright", "zoom": 0.3}))
    assert "semi.weak.flip: True there, not set asked for" in lines
    assert "semi.weak.zoom: not set there, 0.3 asked for" in lines
    assert "semi.weak.policy: weak there, upright asked for" in lines
    assert lines == sorted(lines)


@given(st.sets(st.sampled_from(sorted(_JUDGING | _MAKING))))
def test_differences_are_those_that_were_made(paths: set[str]) -> None:
    options = {path.replace(".", "__"): (_JUDGING | _MAKING)[path] for path in paths}
    lines = differences(_changed(), _changed(**options))
    found = {path for path in _MAKING if any(line.startswith(path) for line in lines)}
    assert found == paths & _MAKING.keys()
    assert differences(_changed(**options), _changed(**options)) == []


# Opening


@pytest.fixture
def config() -> RunConfig:
    return load_config("digits")


def test_a_new_run_holds_configuration_and_environment(tmp_path: Path, config: RunConfig) -> None:
    run = open_run(tmp_path / "run", config)
    assert read_run_config(run.path) == config
    written = json.loads((run.path / "environment.json").read_text())
    assert written == environment(config)
    assert written["seed"] == "0"
    assert written["tensorflow"].startswith("2.")


def test_the_environment_can_be_had_without_being_installed(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "spice-keras":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(pipeline, "version", version)
    found = environment(config)
    assert (found["spice-keras"], found["keras"]) == ("not installed", "1")


def test_the_same_configuration_opens_it_again_and_writes_nothing(
    tmp_path: Path, config: RunConfig
) -> None:
    open_run(tmp_path / "run", config)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}
    open_run(tmp_path / "run", config)
    after = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}
    assert after == before


def test_another_configuration_is_refused_with_the_differences(
    tmp_path: Path, config: RunConfig
) -> None:
    open_run(tmp_path / "run", config)
    other = load_config("digits", overrides={"seed": 4, "semi.steps": 5, "data.labels": "none"})
    with pytest.raises(UserError) as caught:
        open_run(tmp_path / "run", other)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'run'} was made with another configuration:",
        "  seed: 0 there, 4 asked for",
        "  semi.steps: 700 there, 5 asked for",
        "Name another folder with --run-dir, or ask for the same.",
    ]
    assert read_run_config(tmp_path / "run") == config


def test_what_only_judges_is_noted(tmp_path: Path, config: RunConfig) -> None:
    open_run(tmp_path / "run", config)
    other = load_config("digits", overrides={"data.labels": "none"})
    open_run(tmp_path / "run", other)
    assert read_run_config(tmp_path / "run") == other


@pytest.mark.parametrize("text", ["", "- 1\n", "seed: [\n", "seed: x\n", "\x00"])
def test_a_damaged_configuration_is_a_users_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        read_run_config(tmp_path)


# Stages


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

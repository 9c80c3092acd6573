"""What a run directory was made with, and which of it may still change."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.run import configuration as run_configuration
from spice_keras.run.configuration import (
    differences,
    environment,
    keep_configuration,
    open_run,
    read_run_config,
)
from spice_keras.run.directory import RunDirectory

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
    assert differences(_changed(), asked) == {}


@pytest.mark.parametrize("path", sorted(_MAKING))
def test_what_decides_the_result_does(path: str) -> None:
    found = differences(_changed(), _with(path, _MAKING[path]))
    assert found
    assert all(option.startswith(path) for option in found)


def test_a_difference_names_both_values() -> None:
    assert differences(_changed(), _changed(seed=5)) == {"seed": "seed: 0 there, 5 asked for"}
    found = differences(_changed(), _changed(semi__weak={"policy": "upright", "zoom": 0.3}))
    lines = list(found.values())
    assert "semi.weak.flip: True there, not set asked for" in lines
    assert "semi.weak.zoom: not set there, 0.3 asked for" in lines
    assert "semi.weak.policy: weak there, upright asked for" in lines
    assert lines == sorted(lines)


@given(st.sets(st.sampled_from(sorted(_JUDGING | _MAKING))))
def test_differences_are_those_that_were_made(paths: set[str]) -> None:
    options = {path.replace(".", "__"): (_JUDGING | _MAKING)[path] for path in paths}
    options_found = differences(_changed(), _changed(**options))
    found = {path for path in _MAKING if any(name.startswith(path) for name in options_found)}
    assert found == paths & _MAKING.keys()
    assert differences(_changed(**options), _changed(**options)) == {}


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

    monkeypatch.setattr(run_configuration, "version", version)
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


def _finish(run: RunDirectory, *artifacts: str) -> RunDirectory:
    for name in artifacts:
        with run.write(name, stage="test") as folder:
            (folder / "x").write_text("x")
    return run


def test_another_configuration_is_refused_with_the_differences(
    tmp_path: Path, config: RunConfig
) -> None:
    run = _finish(open_run(tmp_path / "run", config), "images", "classifier")
    other = load_config("digits", overrides={"seed": 4, "semi.steps": 5, "data.labels": "none"})
    with pytest.raises(UserError) as caught:
        open_run(run.path, other)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'run'} was made with another configuration:",
        "  seed: 0 there, 4 asked for",
        "  semi.steps: 700 there, 5 asked for",
        "Name another folder with --run-dir, or ask for the same.",
    ]
    assert read_run_config(run.path) == config


# The options a finished stage has read, and the command that does it again.
_ARTIFACTS = ["images", "encoder", "embeddings", "heads", "reliable", "classifier"]
_READ_BY = {
    "data.image_size": ("images", None),
    "seed": ("images", None),
    "backbone.width": ("encoder", "pretrain"),
    "pretrain.epochs": ("encoder", "pretrain"),
    "num_clusters": ("embeddings", "self"),
    "embed.num_probes": ("embeddings", "self"),
    "self.cached_views": ("embeddings", "self"),
    "self.neighbors.num_neighbors": ("embeddings", "self"),
    "self.epochs": ("heads", "self"),
    "self.neighbors.epochs": ("heads", "self"),
    "reliable.num_neighbors": ("embeddings", "self"),
    "reliable.confidence_threshold": ("reliable", "self"),
    "semi.steps": ("classifier", "semi"),
}
_VALUES: dict[str, Any] = {
    "self.cached_views": {"weak": 1, "strong": 2},
    "reliable.confidence_threshold": 0.5,
    "data.image_size": 24,
}


@pytest.mark.parametrize("option", sorted(_READ_BY))
def test_an_option_is_free_until_a_stage_has_read_it(
    option: str, tmp_path: Path, config: RunConfig
) -> None:
    reader, command = _READ_BY[option]
    other = load_config("digits", overrides={option: _VALUES.get(option, 7)})
    run = open_run(tmp_path / "run", config)
    for artifact in _ARTIFACTS:
        if artifact == reader:
            break
        open_run(_finish(run, artifact).path, other)
    for artifact in _ARTIFACTS[_ARTIFACTS.index(reader) :]:
        again = (
            f"or do it again from there: spice {command} --redo." if command else "for the same."
        )
        with pytest.raises(UserError, match=rf"  {option}.* there, (.|\n)*{again}"):
            open_run(_finish(run, artifact).path, other)
    assert read_run_config(run.path) == config, "that is noted once nothing of the other is left"
    keep_configuration(run, other)
    assert read_run_config(run.path) == other


def test_what_was_begun_has_read_its_options(tmp_path: Path, config: RunConfig) -> None:
    run = open_run(tmp_path / "run", config)
    (run.checkpoints / "pretrain").mkdir(parents=True)
    with pytest.raises(UserError, match="another configuration"):
        open_run(run.path, load_config("digits", overrides={"pretrain.epochs": 7}))
    open_run(run.path, load_config("digits", overrides={"self.epochs": 7}))


def test_what_will_be_done_again_may_change(tmp_path: Path, config: RunConfig) -> None:
    run = _finish(open_run(tmp_path / "run", config), *_ARTIFACTS)
    other = load_config("digits", overrides={"self.epochs": 7, "semi.steps": 8})
    open_run(run.path, other, redone_from="embed")
    with pytest.raises(UserError, match=r"self\.epochs: 20 there, 7 asked for"):
        open_run(run.path, other, redone_from="semi")


def test_what_only_judges_is_free_at_any_time(tmp_path: Path, config: RunConfig) -> None:
    run = _finish(open_run(tmp_path / "run", config), *_ARTIFACTS)
    open_run(run.path, load_config("digits", overrides={"data.labels": "none"}))


@pytest.mark.parametrize("text", ["", "- 1\n", "seed: [\n", "seed: x\n", "\x00"])
def test_a_damaged_configuration_is_a_users_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        read_run_config(tmp_path)

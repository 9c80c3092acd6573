"""What a run directory was made with, and how another configuration differs from it."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.run import configuration as run_configuration
from spice_keras.run.configuration import differences, environment, read_run_config

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


# What a run directory holds


@pytest.fixture
def config() -> RunConfig:
    return load_config("digits")


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


@pytest.mark.parametrize("text", ["", "- 1\n", "seed: [\n", "seed: x\n", "\x00"])
def test_a_damaged_configuration_is_a_users_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        read_run_config(tmp_path)


def _made_by(path: Path, version: str, **changes: Any) -> Path:
    """A run directory as another version left it: its options, and who wrote it."""
    values = load_config("digits").as_dict()
    values["self"] |= changes
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (path / "environment.json").write_text(json.dumps({"spice-keras": version}), encoding="utf-8")
    return path


def test_options_that_an_older_version_did_not_have_take_their_defaults(tmp_path: Path) -> None:
    run = _made_by(tmp_path / "run", "0.0.1")
    values = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    del values["embed"], values["semi"]["class_balanced"], values["self"]["neighbors"]["epochs"]
    (run / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    expected = load_config("digits", overrides={"semi.class_balanced": False})
    assert read_run_config(run) == expected


def test_an_option_that_is_gone_is_refused_with_the_version_that_wrote_it(tmp_path: Path) -> None:
    run = _made_by(tmp_path / "run", "0.0.1", sinkhorn=3)
    with pytest.raises(UserError) as caught:
        read_run_config(run)
    assert str(caught.value) == (
        f"{run}/config.yaml was written by spice-keras 0.0.1 and cannot be read by version "
        f"{importlib.metadata.version('spice-keras')} (self.sinkhorn: there is no such option.); "
        "go on with spice-keras 0.0.1, or begin a new run in another folder (--run-dir)."
    )


def test_a_configuration_spoiled_by_hand_is_to_be_corrected(tmp_path: Path) -> None:
    run = _made_by(tmp_path / "run", importlib.metadata.version("spice-keras"), epochs="many")
    with pytest.raises(UserError, match=r"\(self\.epochs: .*'many'\); correct it, or begin"):
        read_run_config(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_without_its_environment_the_version_is_unknown(tmp_path: Path, text: str) -> None:
    run = _made_by(tmp_path / "run", "0.0.1", sinkhorn=3)
    (run / "environment.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="was written by spice-keras of an unknown version and"):
        read_run_config(run)

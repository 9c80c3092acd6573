"""The configuration a run directory was made with, and what may change in it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from spice_keras.config import RunConfig
from spice_keras.config.loading import check
from spice_keras.errors import UserError
from spice_keras.files import write_atomically, write_json
from spice_keras.run.directory import RunDirectory
from spice_keras.run.stage_list import STAGES, UNTRAINED
from spice_keras.runtime import dtype_policy

# What may change in a run directory: it decides how a run is judged, not what it is.
_JUDGING = ("evaluate.", "export.", "data.label", "data.memory_limit_mb")
_READERS = {
    "backbone": "pretrain",
    "pretrain": "pretrain",
    "num_clusters": "embed",  # of pretraining it decides a logged figure alone
    "embed": "embed",
    "reliable": "reliable",
    "semi": "semi",
}
_ORDER = [stage.name for stage in STAGES]
_VIEWS = ("weak", "strong", "cached_views")
_NEIGHBOR_COUNTS = ("self.neighbors.num_neighbors", "reliable.num_neighbors")
_VERSIONED = ("spice-keras", "tensorflow", "keras", "keras-cv", "numpy", "scikit-learn")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """Say how two configurations differ, option by option, those that only judge left out."""
    old, new = _flat(there), _flat(asked)
    return {
        key: f"{key}: {old.get(key, 'not set')} there, {new.get(key, 'not set')} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(_JUDGING)
    }


def read_run_config(path: Path) -> RunConfig:
    """Read the configuration a run directory was made with."""
    try:
        values = yaml.safe_load((path / "config.yaml").read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path / 'config.yaml'} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path / 'config.yaml'} is damaged: it holds no configuration.")
    return check(values, origin=str(path / "config.yaml"))


def _reader(option: str) -> str:
    """Name the first stage that reads an option."""
    section, _, key = option.partition(".")
    if option.startswith(_NEIGHBOR_COUNTS):
        return "embed"
    if section == "self":
        return "embed" if key.startswith(_VIEWS) else "self"
    return _READERS.get(section, "images")


def _is_fixed(run: RunDirectory, option: str, redone_from: str | None) -> bool:
    """Tell whether a stage that reads the option is finished or begun, and stays so."""
    first = _ORDER.index(_reader(option))
    last = len(_ORDER) if redone_from is None else _ORDER.index(redone_from)
    return any(
        run.has(stage.artifact) or (run.checkpoints / stage.name).is_dir()
        for stage in STAGES[first:last]
        if stage.name == "images" or stage.name not in UNTRAINED
    )


def open_run(path: Path, config: RunConfig, *, redone_from: str | None = None) -> RunDirectory:
    """Open the run directory of a configuration, or make it.

    Options that no finished stage has read may differ from those the folder was made with: one
    pretraining serves for heads of several kinds, one after the other.

    Args:
        path: The folder.
        config: The configuration.
        redone_from: The first stage that will be done again, with all that follow; None for none.

    Returns:
        The run directory, as it was.

    Raises:
        UserError: Where a finished stage was made with other options; it lists them.
    """
    if not RunDirectory.holds_run(path):
        run = RunDirectory.create(path, config.as_dict())
        write_json(path / "environment.json", environment(config))
        return run
    run, there = RunDirectory(path), read_run_config(path).as_dict()
    found = {
        option: text
        for option, text in differences(there, config.as_dict()).items()
        if _is_fixed(run, option, redone_from)
    }
    if found:
        lines = "\n".join(f"  {text}" for text in found.values())
        first = STAGES[min(_ORDER.index(_reader(option)) for option in found)]
        again = f", or do it again from there: spice {first.command} --redo"
        again = "" if first.name == "images" else again
        raise UserError(
            f"{path} was made with another configuration:\n{lines}\n"
            f"Name another folder with --run-dir, or ask for the same{again}."
        )
    return run


def keep_configuration(run: RunDirectory, config: RunConfig) -> None:
    """Note the configuration a run goes on with, once nothing is left that another one made.

    Args:
        run: From `open_run`, what will be done again forgotten.
        config: The configuration.
    """
    if read_run_config(run.path) != config:
        text = yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True)
        write_atomically(run.path / "config.yaml", text.encode())


def environment(config: RunConfig) -> dict[str, str]:
    """Describe the machine and the versions a run is made with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
        "dtype_policy": dtype_policy(config.precision),
        "seed": str(config.seed),
        **{name: _version(name) for name in _VERSIONED},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that runs without being installed
        return "not installed"

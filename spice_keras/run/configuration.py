"""The configuration a run directory was made with, and how another one differs from it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from spice_keras.config import RunConfig
from spice_keras.config.loading import find_problems
from spice_keras.errors import UserError
from spice_keras.files import write_atomically, write_json
from spice_keras.run.directory import RunDirectory
from spice_keras.runtime import dtype_policy

# What may change in a run directory: it decides how a run is judged or made, not what it is.
_JUDGING = (
    "evaluate.", "export.", "data.labels", "data.label_key", "data.memory_limit_mb", "strategy",
)  # fmt: skip
# Options that older versions wrote and that no longer change anything.
_GONE = (("embed", "num_probes"),)
_VERSIONED = ("spice-keras", "tensorflow", "keras", "keras-cv", "numpy", "scikit-learn")


def flat_options(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options by their paths, such as `semi.threshold`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_options(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """Say how two configurations differ, option by option, those that only judge left out."""
    old, new = flat_options(there), flat_options(asked)
    return {
        key: f"{key}: {old.get(key, 'not set')} there, {new.get(key, 'not set')} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(_JUDGING)
    }


def read_run_config(path: Path) -> RunConfig:
    """Read the configuration a run directory was made with.

    Options that an older version did not have yet take their defaults.

    Args:
        path: The run directory.

    Returns:
        The configuration.

    Raises:
        UserError: If it cannot be read, or states an option that this version does not have; it
            names the version that wrote it.
    """
    file = path / "config.yaml"
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file} is damaged: it holds no configuration.")
    for section, option in _GONE:
        if isinstance(values.get(section), dict):
            values[section].pop(option, None)
    config, problems = find_problems(values)
    if config is None:
        listed = "; ".join(f"{', '.join(p.paths)}: {p.message}" for p in problems)
        writer, reader = _writer(path), _version("spice-keras")
        way_on = "correct it" if writer == reader else f"go on with spice-keras {writer}"
        raise UserError(
            f"{file} was written by spice-keras {writer} and cannot be read by version {reader} "
            f"({listed}); {way_on}, or begin a new run in another folder (--run-dir)."
        )
    return config


def _writer(path: Path) -> str:
    """Return the version of the package that made a run directory, as its environment says."""
    try:
        facts = json.loads((path / "environment.json").read_text("utf-8"))
        return str(facts["spice-keras"])
    except (OSError, ValueError, KeyError, TypeError):
        return "of an unknown version"


def keep_configuration(run: RunDirectory, config: RunConfig) -> None:
    """Note the configuration a run goes on with, once nothing is left that another one made.

    Args:
        run: From `open_run`, what will be done again forgotten.
        config: The configuration.
    """
    if read_run_config(run.path) != config:
        text = yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True)
        write_atomically(run.path / "config.yaml", text.encode())


def keep_environment(run: RunDirectory, config: RunConfig) -> None:
    """Write environment.json if it is missing: a command was killed before it, or it was deleted.

    Args:
        run: The run directory.
        config: Its configuration.
    """
    if not (run.path / "environment.json").is_file():
        write_json(run.path / "environment.json", environment(config))


def environment(config: RunConfig) -> dict[str, str]:
    """Describe the machine and the versions a run is made with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
        **_devices(),
        **_git_state(),
        "dtype_policy": dtype_policy(config.precision),
        "seed": str(config.seed),
        **package_versions(*_VERSIONED),
    }


def _devices() -> dict[str, str]:
    """The processor and the graphics cards, as far as the system tells without TensorFlow."""
    found = {}
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if names:
            found["processor"] = names[0]
    cards = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            text = path.read_text("utf-8", "replace")
            cards += re.findall(r"^Model:\s*(.+)$", text, re.MULTILINE)
    if cards:
        found["graphics"] = ", ".join(cards)
    return found


def _git_state() -> dict[str, str]:
    """The commit this package was run from, if it is a checkout; nothing if it was installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return {}
    git = ["git", "-C", str(root)]
    try:
        commit = _output([*git, "rev-parse", "HEAD"])
        changed = _output([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit + (", with changes" if changed else "")}


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def package_versions(*names: str) -> dict[str, str]:
    """Return the versions of installed packages, by their names."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that runs without being installed
        return "not installed"

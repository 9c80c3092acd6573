"""The stages in their order, each finished once; what is finished is kept."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from spice_keras.artifacts import RunDirectory, write_atomically, write_json
from spice_keras.config import RunConfig
from spice_keras.config.loading import check
from spice_keras.errors import UserError
from spice_keras.hardware import (
    dtype_policy,
    peak_memory_bytes,
    release_memory,
    start_tensorflow,
)
from spice_keras.training.screen import Screen, silent_screen

# What may change in a run directory: it decides how a run is judged, not what it is.
_JUDGING = ("evaluate.", "export.", "data.label", "data.memory_limit_mb")
_UNTRAINED = {"images", "test", "eval", "export"}
_VERSIONED = ("spice-keras", "tensorflow", "keras", "keras-cv", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Stage:
    """One stage: what runs it, and the artifact that shows it is finished.

    Attributes:
        name: As in messages and timings.
        artifact: What it leaves in the run directory.
        module: Where in `spice_keras.stages` its function lives, imported when needed.
        function: The function, which takes the context.
        command: The command it belongs to.
        later_phases: Names of further fits of it, in checkpoints and logs.
    """

    name: str
    artifact: str
    module: str
    function: str
    command: str
    later_phases: tuple[str, ...] = ()

    def load(self) -> Callable[[Any], Any]:
        """Import the stage's function."""
        module = import_module(f"spice_keras.stages.{self.module}")
        function: Callable[[Any], Any] = getattr(module, self.function)
        return function


STAGES = (
    Stage("images", "images", "ingest", "ingest", "pretrain"),
    Stage("pretrain", "encoder", "pretrain", "pretrain", "pretrain"),
    Stage("embed", "embeddings", "embed", "embed", "self"),
    Stage("self", "heads", "self_label", "self_label", "self", ("refine",)),
    Stage("reliable", "reliable", "reliable", "select_reliable", "self"),
    Stage("semi", "classifier", "semi", "semi", "semi"),
    Stage("test", "test", "held_out", "classify_test", "eval"),
    Stage("eval", "evaluation", "evaluate", "evaluate", "eval"),
    Stage("export", "export", "export", "export", "export"),
)


@dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Attributes:
        path: The run directory, with report.html, assignments.csv and metrics.json.
        metrics: The content of metrics.json.
        saved_model: The exported SavedModel's folder.
    """

    path: Path
    metrics: Mapping[str, Any]
    saved_model: Path


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """List the options two configurations differ in, those that only judge left out."""
    old, new = _flat(there), _flat(asked)
    return [
        f"{key}: {old.get(key, 'not set')} there, {new.get(key, 'not set')} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(_JUDGING)
    ]


def read_run_config(path: Path) -> RunConfig:
    """Read the configuration a run directory was made with."""
    try:
        values = yaml.safe_load((path / "config.yaml").read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path / 'config.yaml'} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path / 'config.yaml'} is damaged: it holds no configuration.")
    return check(values, origin=str(path / "config.yaml"))


def open_run(path: Path, config: RunConfig) -> RunDirectory:
    """Open the run directory of a configuration, or make it.

    Raises:
        UserError: Where the folder was made with another configuration; it lists the
            differences.
    """
    if not RunDirectory.holds_run(path):
        run = RunDirectory.create(path, config.as_dict())
        write_json(path / "environment.json", environment(config))
        return run
    there = read_run_config(path).as_dict()
    found = differences(there, config.as_dict())
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise UserError(
            f"{path} was made with another configuration:\n{lines}\n"
            "Name another folder with --run-dir, or ask for the same."
        )
    if there != config.as_dict():
        text = yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True)
        write_atomically(path / "config.yaml", text.encode())
    return RunDirectory(path)


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


def _applies(stage: Stage, config: RunConfig) -> bool:
    if config.data.source == "embeddings" and stage.name == "pretrain":
        return False
    if stage.name == "test":
        return config.data.protocol == "split"
    return stage.name != "semi" or config.semi.enabled


def _chosen(config: RunConfig, commands: Sequence[str]) -> list[Stage]:
    asked = set(commands)
    if config.data.source == "embeddings" and "self" in asked:
        asked.add("pretrain")  # whose other stage, the reading of the source, comes first here
    return [stage for stage in STAGES if stage.command in asked and _applies(stage, config)]


def _refuse_finished(run: RunDirectory, stages: Sequence[Stage], redo: bool) -> None:
    """Without leave to continue or redo, touch nothing that took somebody time to make."""
    there = [
        stage.name
        for stage in stages
        if run.has(stage.artifact) or (run.checkpoints / stage.name).is_dir()
    ]
    there = [name for name in there if name not in _UNTRAINED]
    if there and not redo:
        raise UserError(
            f"{run.path} already holds {', '.join(there)} (finished or begun). Continue with "
            "--resume, which skips what is finished, or name another folder with --run-dir."
        )


def _forget_from(run: RunDirectory, first: Stage) -> None:
    """Remove a stage's artifact, all later ones and what was published: made of it."""
    for stage in STAGES[STAGES.index(first) :]:
        run.discard(stage.artifact)
        for phase in (stage.name, *stage.later_phases):
            shutil.rmtree(run.checkpoints / phase, ignore_errors=True)
            run.forget_metrics(phase, from_epoch=0)
    for name in ("report.html", "metrics.json", "assignments.csv"):
        (run.path / name).unlink(missing_ok=True)
    shutil.rmtree(run.path / "figures", ignore_errors=True)


def _add_time(run: RunDirectory, name: str, seconds: float) -> None:
    path = run.path / "timings.json"
    times = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    times[name] = round(times.get(name, 0.0) + seconds, 2)
    write_json(path, times)


def run_stages(
    config: RunConfig,
    run_dir: str | Path,
    *,
    commands: Sequence[str],
    resume: bool = False,
    redo: bool = False,
    screen: Screen | None = None,
) -> RunDirectory:
    """Run some stages of a run directory, in order.

    Args:
        config: The configuration.
        run_dir: The run directory, made where it does not exist.
        commands: The commands whose stages run: pretrain, self, semi, eval, export.
        resume: Skip what is finished, continue what was interrupted.
        redo: Do these stages again and forget what later ones made of them.
        screen: Where things are said; None for warnings alone.

    Returns:
        The run directory.

    Raises:
        UserError: Where the configuration, the data or the folder do not allow it.
    """
    screen = screen or silent_screen()
    run = open_run(Path(run_dir), config)
    stages = _chosen(config, commands)
    if not resume:
        _refuse_finished(run, stages, redo)
    start_tensorflow(precision=config.precision)
    from spice_keras.stages.context import Context
    from spice_keras.stages.true_labels import refuse_missing_labels

    trained = [stage for stage in stages if stage.name not in _UNTRAINED]
    if redo and trained:
        _forget_from(run, trained[0])
    context = Context(config, run, screen)
    for stage in stages:
        judges = stage.name in {"eval", "export"} and not resume
        if run.has(stage.artifact) and not judges:
            screen.detail(f"{stage.name}: already there.")
        else:
            began = time.monotonic()
            stage.load()(context)
            _add_time(run, stage.name, time.monotonic() - began)
            release_memory()
        if stage.name == "images":
            refuse_missing_labels(context, commands)
    screen.detail(f"Peak memory {peak_memory_bytes() / 2**20:,.0f} MiB.")
    return run


def run_all(
    config: RunConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    screen: Screen | None = None,
) -> RunResult:
    """Run everything: images to clusters, report and SavedModel.

    Args:
        config: The configuration, from `load_config`.
        run_dir: The run directory, made where it does not exist.
        resume: Skip what is finished, continue what was interrupted.
        screen: Where things are said; None for warnings alone.

    Returns:
        Where everything lies, and the metrics.

    Raises:
        UserError: Where the configuration, the data or the folder do not allow it.
    """
    commands = ("pretrain", "self", "semi", "eval", "export")
    run = run_stages(config, run_dir, commands=commands, resume=resume, screen=screen)
    from spice_keras.stages.context import Context
    from spice_keras.stages.evaluate import read_metrics
    from spice_keras.stages.export import read_export

    context = Context(config, run)
    return RunResult(run.path, read_metrics(context), read_export(context))

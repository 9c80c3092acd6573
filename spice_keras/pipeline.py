"""The stages of a run, each finished once; what is finished is kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spice_keras.config import RunConfig
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.progress import Screen, silent_screen
from spice_keras.run.configuration import keep_configuration, open_run
from spice_keras.run.directory import RunDirectory
from spice_keras.run.stage_list import STAGES, UNTRAINED, Stage
from spice_keras.runtime import (
    peak_memory_bytes,
    refuse_other_backend,
    release_memory,
    start_tensorflow,
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
    there = [name for name in there if name not in UNTRAINED]
    if there and not redo:
        raise UserError(
            f"{run.path} already holds {', '.join(there)} (finished or begun). Continue with "
            "--resume, which skips what is finished, or name another folder with --run-dir."
        )


def _refuse_before_semi(run: RunDirectory, config: RunConfig, commands: Sequence[str]) -> None:
    """Name both ways on where heads are to be judged and SPICE-Semi has not run."""
    judged = {"eval", "export"} & set(commands)
    if not judged or "semi" in commands or not config.semi.enabled:
        return
    if run.has("heads") and not run.has("classifier"):
        raise UserError(
            f"{run.path} holds no classifier yet: run `spice semi --run-dir {run.path}` first, or "
            "take the heads as they are with --set semi.enabled=false."
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
    refuse_other_backend()
    screen = screen or silent_screen()
    stages = _chosen(config, commands)
    trained = [stage for stage in stages if stage.name not in UNTRAINED]
    first = trained[0] if redo and trained else None
    run = open_run(Path(run_dir), config, redone_from=first.name if first else None)
    if not resume:
        _refuse_finished(run, stages, redo)
    _refuse_before_semi(run, config, commands)
    if first is not None:
        _forget_from(run, first)
    keep_configuration(run, config)
    start_tensorflow(precision=config.precision)
    from spice_keras.run.context import Context
    from spice_keras.stages.ingest import keep_plan
    from spice_keras.stages.true_labels import refuse_missing_labels

    context = Context(config, run, screen)
    if run.has("images"):
        keep_plan(context)
    for stage in stages:
        judges = stage.name in {"eval", "export"} and not resume
        if run.has(stage.artifact) and not judges:
            screen.detail(f"{stage.name}: already there.")
        else:
            if stage.name not in UNTRAINED:
                # A report made before, of the heads alone, would pass for one of what comes now.
                _forget_from(run, STAGES[STAGES.index(stage) + 1])
            began = time.monotonic()
            stage.load()(context)
            _add_time(run, stage.name, time.monotonic() - began)
            context.forget_bank()
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
    from spice_keras.run.context import Context
    from spice_keras.run.store import Evaluation, Export

    context = Context(config, run)
    metrics, exported = context.load(Evaluation).metrics, context.load(Export).path
    return RunResult(run.path, metrics, exported)

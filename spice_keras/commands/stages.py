"""`spice pretrain|self|semi|eval`: one stage of a run each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spice_keras.commands.request import prepare, print_results, run_options
from spice_keras.errors import UserError
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.config import RunConfig
    from spice_keras.run.request import RunRequest


def _stage_command(name: str, summary: str) -> click.Command:
    """Make the command of one stage."""

    @click.command(name, help=summary)
    @run_options
    @click.option("--redo", is_flag=True, help="Do it again; forget what came of it.")
    def command(request: RunRequest, redo: bool) -> None:
        prepared = prepare(request, existing=name != "pretrain")
        if prepared is None:
            return
        from spice_keras.pipeline import choose_clusters, run_stages

        screen, run_dir = Screen(request.loudness), prepared.run_dir
        commands = [name]
        if name == "self" and request.source.embeddings is not None:
            commands += ["eval", "export"]  # no other stage comes between
        config, resume = prepared.config, request.resume
        if request.options.clusters == "auto":
            if name != "self":
                raise UserError(
                    f"spice {name} does not choose a number of clusters: say --clusters K, or use "
                    "spice run --clusters auto."
                )
            config, resume = choose_clusters(config, run_dir, resume=resume, screen=screen), True
        run = run_stages(
            config,
            run_dir,
            commands=commands,
            resume=resume,
            redo=redo,
            screen=screen,
        )
        if "eval" in commands:
            _show_evaluation(config, run.path)
        screen.say(f"spice {name}: done, in {run.path}")

    return command


def _show_evaluation(config: RunConfig, run_dir: Path) -> None:
    from spice_keras.run.context import Context
    from spice_keras.run.directory import RunDirectory
    from spice_keras.run.store import Evaluation

    print_results(Context(config, RunDirectory(run_dir)).load(Evaluation).metrics)
    click.echo(f"Report  {run_dir / 'report.html'}")


STAGE_COMMANDS = (
    _stage_command("pretrain", "Stage 1: MoCo v2, an encoder from the images alone."),
    _stage_command("self", "Stage 2: SPICE-Self, clustering heads and reliable labels."),
    _stage_command("semi", "Stage 3: SPICE-Semi, FixMatch from the reliable labels."),
    _stage_command("eval", "Figures of merit, assignments.csv and the report."),
)

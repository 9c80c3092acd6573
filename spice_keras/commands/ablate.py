"""`spice ablate`: the paper's ablation tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spice_keras.commands.request import run_options
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.run.request import RunRequest


@click.command()
@run_options
@click.option("--trials", type=click.IntRange(min=1), default=5, help="Seeds, from --seed on.")
@click.option("--rows", metavar="NAME,...", help="Only these; --dry-run lists them.")
@click.option("--pretrain-once", is_flag=True, help="One encoder for all trials.")
def ablate(request: RunRequest, trials: int, rows: str | None, pretrain_once: bool) -> None:
    """The paper's ablation tables: mean and deviation over trials.

    Every trial pretrains one encoder, which its rows share. The data needs labels to compare with.
    """
    from spice_keras.ablations.rows import chosen_rows
    from spice_keras.run.preflight import preflight
    from spice_keras.run.request import request_config

    config, _ = request_config(request)
    chosen = chosen_rows(config, rows)
    folder = request.run_dir or Path("runs") / f"{config.name}-ablations"
    preflight(config)
    if request.dry_run:
        for row in chosen:
            click.echo(f"{row.name:<16} {row.table}: {row.title}")
        return
    from spice_keras.ablations import ablate as stage
    from spice_keras.ablations.table import ABLATION_HEADER, ablation_rows
    from spice_keras.report.terminal import show_table

    ablation = stage.Ablation(config, folder, pretrain_once, Screen(request.loudness))
    results = stage.ablate(ablation, chosen, trials=trials, resume=request.resume)
    show_table(ABLATION_HEADER, ablation_rows(results["rows"]))
    click.echo(f"Tables  {folder / 'ablations.md'}")

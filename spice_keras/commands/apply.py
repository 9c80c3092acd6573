"""`spice apply`: a corrected run, made of a run and the edits of its review."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.options import TableFormat
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Default: RUN-reviewed.")
@click.option("--edits", type=click.Path(path_type=Path), help="Default: edits.jsonl of the run.")
@click.option("--keep", is_flag=True, help="Leave every image where the review page shows it.")
@click.option(
    "--format",
    "table",
    type=click.Choice(get_args(TableFormat)),
    help="Of the table of items; parquet writes assignments.parquet too. Default: as the RUN.",
)
@loudness_options
def apply(
    run_dir: Path,
    output: Path | None,
    edits: Path | None,
    keep: bool,
    table: TableFormat | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Make a corrected run of a RUN and its edits: tables, report and SavedModel.

    Merged clusters are merged in the model. If images were moved or clusters split, the head is
    trained again with these images as fixed labels, and others may follow them; --keep forbids it.
    The RUN stays as it is.
    """
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import RunDirectory, refuse_no_run
    from spice_keras.runtime import start_tensorflow

    refuse_no_run(run_dir)
    screen = Screen(chosen_loudness(quiet, verbose))
    config = read_run_config(run_dir)
    start_tensorflow(precision=config.precision)  # the model encodes as the run did
    from spice_keras.review.apply import apply_edits, default_target, told
    from spice_keras.run.context import Context

    context = Context(config, RunDirectory(run_dir), screen)
    target = output or default_target(run_dir)
    applied = apply_edits(context, target, edits=edits, keep=keep, table=table)
    told(applied, screen)
    click.echo(f"Report       {applied.path / 'report.html'}")
    click.echo(f"Assignments  {applied.path / 'assignments.csv'}")
    click.echo(f"SavedModel   {applied.saved_model}")

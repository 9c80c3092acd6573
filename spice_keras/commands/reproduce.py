"""`spice reproduce`: a run once more, from what its folder says, and whether it comes out equal."""

from __future__ import annotations

from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.errors import UserError
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--run-dir", "target", type=click.Path(path_type=Path), help="Default: runs/NAME-N.")
@click.option("--resume", is_flag=True, help="Continue in --run-dir.")
@loudness_options
def reproduce(run_dir: Path, target: Path | None, resume: bool, quiet: bool, verbose: bool) -> None:
    """Make a RUN once more in a new folder, and compare the results.

    Nothing is exported. Exit code 1 if a figure differs.
    """
    from spice_keras.pipeline import reproduce_run
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.lock import claim_run_dir

    if resume and target is None:
        raise UserError("--resume goes on in a folder: name it with --run-dir.")
    screen = Screen(chosen_loudness(quiet, verbose))
    if target is None:
        target = claim_run_dir(read_run_config(run_dir).name)
    screen.say(f"spice reproduce: {run_dir} once more, in {target}")
    found = reproduce_run(run_dir, target, resume=resume, screen=screen)
    for line in found.lines():
        click.echo(line)
    if not found.is_equal:
        raise click.exceptions.Exit(1)

"""`spice repair`: what is damaged in a run directory is made again."""

from __future__ import annotations

from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@loudness_options
def repair(run_dir: Path, quiet: bool, verbose: bool) -> None:
    """Check every file of a RUN, and make again what is damaged.

    What comes out the same as it was keeps all that was made of it.
    """
    from spice_keras.pipeline import repair_run

    screen = Screen(chosen_loudness(quiet, verbose))
    found = repair_run(run_dir, screen=screen)
    screen.say(f"spice repair: {'done' if found else 'nothing is damaged'}, in {run_dir}")

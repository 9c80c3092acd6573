"""`spice name`: the clusters of a finished run get their names again."""

from __future__ import annotations

from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options, prepare
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--words", metavar="FILE", help="Words: .npz of names and vectors; none: no names.")
@loudness_options
def name(run_dir: Path, words: str | None, quiet: bool, verbose: bool) -> None:
    """Name the clusters of a RUN again, and write its tables and its report again."""
    from spice_keras.run.request import OptionRequest, RunRequest

    loudness = chosen_loudness(quiet, verbose)
    request = RunRequest(options=OptionRequest(words=words), run_dir=run_dir, loudness=loudness)
    prepared = prepare(request, existing=True)
    if prepared is None:
        return
    from spice_keras.pipeline import run_stages

    screen = Screen(loudness)
    run_stages(prepared.config, run_dir, commands=["eval"], screen=screen)
    screen.say(f"spice name: done, in {run_dir}. spice export writes a SavedModel with the names.")

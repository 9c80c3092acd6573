"""`spice run`: everything, from images to a SavedModel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from spice_keras.commands.request import prepare, print_results, run_options
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.run.request import RunRequest


@click.command()
@run_options
@click.option(
    "--update",
    is_flag=True,
    help="The source changed: assign what is new by the heads of the run, drop what is gone.",
)
def run(request: RunRequest, update: bool) -> None:
    """Do everything: images to clusters, a report and a SavedModel.

    CONFIG is a YAML file or the name of a shipped one (see `spice configs`). Without CONFIG and
    without --images, scikit-learn's digits are clustered.
    """
    request = replace(request, resume=request.resume or update)
    prepared = prepare(request, existing=False)
    if prepared is None:
        return
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import must_hold_run

    if update:
        must_hold_run(prepared.run_dir)
    screen, config = Screen(request.loudness), prepared.config
    automatic = request.options.clusters == "auto"
    clusters = "clusters to be counted" if automatic else f"{config.num_clusters} clusters"
    screen.say(f"spice run: {config.name}, {clusters}, in {prepared.run_dir}")
    from spice_keras.pipeline import choose_clusters, run_all, update_run

    resume = request.resume
    if update:
        if automatic:
            number = read_run_config(prepared.run_dir).num_clusters
            config = config.model_copy(update={"num_clusters": number})
        update_run(config, prepared.run_dir, screen=screen)
    elif automatic:
        config = choose_clusters(config, prepared.run_dir, resume=resume, screen=screen)
        resume = True  # the embeddings are there
    result = run_all(config, prepared.run_dir, resume=resume, screen=screen)
    print_results(result.metrics)
    click.echo(f"Report       {result.path / 'report.html'}")
    click.echo(f"Assignments  {result.path / 'assignments.csv'}")
    click.echo(f"SavedModel   {result.saved_model}")

"""`spice run`: everything, from images to a SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spice_keras.commands.request import prepare, print_results, run_options
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.run.request import RunRequest


@click.command()
@run_options
def run(request: RunRequest) -> None:
    """Do everything: images to clusters, a report and a SavedModel.

    CONFIG is a YAML file or the name of a shipped one (see `spice configs`). Without CONFIG and
    without --images, scikit-learn's digits are clustered.
    """
    prepared = prepare(request, existing=False)
    if prepared is None:
        return
    screen, config = Screen(request.loudness), prepared.config
    automatic = request.options.clusters == "auto"
    clusters = "clusters to be counted" if automatic else f"{config.num_clusters} clusters"
    screen.say(f"spice run: {config.name}, {clusters}, in {prepared.run_dir}")
    from spice_keras.pipeline import choose_clusters, run_all

    resume = request.resume
    if automatic:
        config = choose_clusters(config, prepared.run_dir, resume=resume, screen=screen)
        resume = True  # the embeddings are there
    result = run_all(config, prepared.run_dir, resume=resume, screen=screen)
    print_results(result.metrics)
    click.echo(f"Report       {result.path / 'report.html'}")
    click.echo(f"Assignments  {result.path / 'assignments.csv'}")
    click.echo(f"SavedModel   {result.saved_model}")

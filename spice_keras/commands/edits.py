"""`spice edits`: the decisions of a review, out to other tools and in from them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.errors import UserError
from spice_keras.options import ExchangeFormat
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), help="File to write.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="File or folder to read.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(get_args(ExchangeFormat)),
    default="csv",
    help="Of the file that is written. Default: csv.",
)
@loudness_options
def edits(
    run_dir: Path,
    target: Path | None,
    source: Path | None,
    file_format: ExchangeFormat,
    quiet: bool,
    verbose: bool,
) -> None:
    """Write the clusters of a RUN, edits included, for another tool, or read them back.

    --to writes a CSV table of image and cluster, tasks of Label Studio, or labels of FiftyOne.
    --from reads such a file, or a folder of spice organize in which files were moved, and adds
    edits for what differs.
    """
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import RunDirectory, refuse_no_run
    from spice_keras.runtime import start_tensorflow

    if (target is None) == (source is None):
        raise UserError("Say either --to FILE, to write, or --from FILE, to read.")
    refuse_no_run(run_dir)
    screen = Screen(chosen_loudness(quiet, verbose))
    config = read_run_config(run_dir)
    start_tensorflow(precision="float32")
    from spice_keras.review.exchange import export_clusters, import_clusters
    from spice_keras.review.folders import image_files
    from spice_keras.review.log import EDITS, EditLog
    from spice_keras.review.session import start_state
    from spice_keras.run.context import Context
    from spice_keras.run.results import final_result

    context = Context(config, RunDirectory(run_dir), screen)
    log = EditLog(run_dir / EDITS, start_state(context))
    if target is not None:
        count = export_clusters(log.state, final_result(context).confidence, target, file_format)
        screen.say(f"edits: {count} images written to {target}.")
    if source is not None:
        files: dict[str, str] = {}
        if source.is_dir():
            paths = [str(path.resolve()) for path in image_files(context)]
            files = dict(zip(paths, context.ids, strict=True))
        moved, unknown = import_clusters(log, source, files)
        screen.say(f"edits: {moved} images moved; the edits are in {log.path}.")
        if unknown:
            screen.warn(f"{len(unknown)} images are not in this run, {unknown[0]} for one.")

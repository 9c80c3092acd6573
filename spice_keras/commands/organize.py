"""`spice organize`: a folder for each cluster, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.errors import UserError
from spice_keras.options import Placement
from spice_keras.progress import Screen

_LISTED = 10  # files that an undo leaves; of more, the number is told


def _shares(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--split takes three shares, as in --split 0.8,0.1,0.1. Received: {text}"
        ) from None
    return train, val, test


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", required=False, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "placement",
    type=click.Choice(get_args(Placement)),
    default="link",
    help="Symbolic links, hard links or copies. Default: link.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be made; make nothing.")
@click.option("--largest", type=int, metavar="N", help="Sub-folders of at most N images.")
@click.option("--split", metavar="TRAIN,VAL,TEST", help="Shares of three parts, in every cluster.")
@click.option("--seed", type=int, default=0, help="Seed of the split.")
@click.option("--undo", is_flag=True, help="RUN is a folder this command made: remove its files.")
@loudness_options
def organize(
    run_dir: Path,
    output: Path | None,
    undo: bool,
    quiet: bool,
    verbose: bool,
    **asked: Any,
) -> None:
    """Put the images of a RUN into a folder for each cluster, in the new folder OUT.

    Folders are named after the clusters; edits of a review count. Images stay where they are:
    OUT holds links, hard links or copies. Nothing is moved or overwritten. With --undo, RUN is a
    folder that this command made, and what it made there goes.
    """
    from spice_keras.organize import Layout, undo_folders

    screen = Screen(chosen_loudness(quiet, verbose))
    if undo:
        removed, kept = undo_folders(run_dir)
        screen.say(f"organize: {removed} files removed from {run_dir}.")
        for path in kept[:_LISTED]:
            screen.warn(f"{path} stays: it is not as the command made it.")
        if len(kept) > _LISTED:
            screen.warn(f"{len(kept) - _LISTED} more files stay.")
        return
    if output is None:
        raise UserError("Name a new folder after the run: spice organize RUN OUT.")
    placement, dry_run = asked["placement"], asked["dry_run"]
    layout = Layout(placement, asked["largest"], _shares(asked["split"]), asked["seed"])
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import RunDirectory, refuse_no_run
    from spice_keras.runtime import start_tensorflow

    refuse_no_run(run_dir)
    config = read_run_config(run_dir)
    start_tensorflow(precision="float32")
    from spice_keras.review.folders import organize_run
    from spice_keras.run.context import Context

    context = Context(config, RunDirectory(run_dir), screen)
    plan = organize_run(context, output, layout, dry_run=dry_run)
    for folder, size in plan.sizes.items():
        click.echo(f"{size:>8,}  {output / folder}")
    done = "would be made" if dry_run else "made"
    screen.say(f"organize: {len(plan.files)} files {done} in {output}, as: {placement}.")

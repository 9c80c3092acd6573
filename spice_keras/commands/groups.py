"""`spice groups`: how many groups there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.progress import Screen


@click.command()
@click.argument("source", metavar="RUN_OR_FEATURES", type=click.Path(path_type=Path))
@click.option("--from", "smallest", type=int, default=2, help="Smallest number to try.")
@click.option("--to", "largest", type=int, help="Largest number to try; default: 30 or less.")
@click.option("--cut", type=int, metavar="K", help="Merge a run's clusters into K groups.")
@click.option("--seed", type=int, default=0, help="Same seed, same answer.")
@loudness_options
def groups(quiet: bool, verbose: bool, **asked: Any) -> None:
    """How many groups there are, in a run directory or a file of embeddings.

    With --cut, write a run's assignment in fewer groups; nothing is trained.
    """
    from spice_keras.runtime import start_tensorflow

    screen = Screen(chosen_loudness(quiet, verbose))
    start_tensorflow(precision="float32")
    from spice_keras.stages.groups import GroupsRequest, report_groups

    for line in report_groups(GroupsRequest(**asked), screen):
        click.echo(line)

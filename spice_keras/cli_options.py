"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def loudness_options(command: Command) -> Command:
    """Add --quiet and --verbose."""
    command = click.option("--verbose", is_flag=True, help="Say more; show tracebacks.")(command)
    return click.option("--quiet", is_flag=True, help="Say only what went wrong.")(command)


def run_options(command: Command) -> Command:
    """Add what every command of a run takes: source, configuration, run directory."""
    options = [
        click.argument("config", required=False),
        click.option(
            "--images",
            metavar="PATH",
            help="A folder of images, an .npy/.npz file, or tfds:NAME.",
        ),
        click.option(
            "--embeddings",
            metavar="FILE",
            help="An .npy/.npz file of embeddings instead of images.",
        ),
        click.option(
            "--backbone",
            metavar="NAME",
            help="small_resnet, efficientnet_lite0, keras:NAME, hub:PRESET, ...",
        ),
        click.option("--clusters", type=int, metavar="K", help="Number of clusters."),
        click.option(
            "--labels",
            type=click.Choice(["none", "source", "from-folders"]),
            help="What evaluation compares with; nothing else reads labels.",
        ),
        click.option("--seed", type=int, help="Same seed, same result."),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="a.b=VALUE",
            help="Override one option; repeatable.",
        ),
        click.option("--run-dir", type=click.Path(path_type=Path), help="Default: runs/NAME."),
        click.option("--resume", is_flag=True, help="Continue; skip finished stages."),
        click.option("--dry-run", is_flag=True, help="Print configuration and arithmetic."),
    ]
    for option in reversed(options):
        command = option(command)
    return loudness_options(command)

"""`spice pack`: image files into tar or TFRecord shards."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from spice_keras.commands.request import chosen_loudness, image_source, loudness_options
from spice_keras.options import ShardFormat
from spice_keras.progress import Screen


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(get_args(ShardFormat)),
    default="tar",
    show_default=True,
    help="tar is WebDataset's layout.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Images of a shard.",
)
@click.option(
    "--labels", is_flag=True, help="Write each image's class, its first sub-folder, beside it."
)
@loudness_options
def pack(
    source: str, out: Path, kind: ShardFormat, rows: int, labels: bool, quiet: bool, verbose: bool
) -> None:
    """Pack the image files of SOURCE into shards in the folder OUT.

    SOURCE is a folder, a .txt list of paths, or shards. The files are copied as they are. The same
    command continues what was interrupted.
    """
    from spice_keras.data.packing import encoded_source
    from spice_keras.data.packing import pack as pack_source
    from spice_keras.data.sources import SourceOptions

    screen = Screen(chosen_loudness(quiet, verbose))
    name = image_source(source)
    opened = encoded_source(name, SourceOptions(path=source))
    with screen.task("pack", len(opened)) as task:
        manifest, skipped = pack_source(
            opened,
            out,
            kind=kind,
            rows_per_shard=rows,
            with_labels=labels,
            advance=task.advance,
        )
    for item in skipped:
        screen.warn(f"left out {item.path}: {item.reason}")
    screen.say(f"pack: {manifest.rows:,} images in {len(manifest.shards)} shards, in {out}")

"""`spice predict`: new images, sorted by an exported model."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.progress import Screen


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="CSV file; default: the screen.")
@loudness_options
def predict(
    model: Path, images: tuple[Path, ...], output: Path | None, quiet: bool, verbose: bool
) -> None:
    """Sort new images with an exported MODEL: files, folders, .npy or .npz arrays."""
    import csv

    from spice_keras.runtime import start_tensorflow

    screen = Screen(chosen_loudness(quiet, verbose))
    start_tensorflow(precision="float32", deterministic=False)
    from spice_keras.csv_cells import escaped_rows
    from spice_keras.serving.predict import HEADER, predict

    found = predict(model, images)
    for skipped in found.skipped:
        screen.warn(f"skipped {skipped.path}: {skipped.reason}")
    if output is None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows(escaped_rows([HEADER, *found.rows()]))
    else:
        found.write(output)
        screen.say(f"{len(found.images)} images sorted into {output}")

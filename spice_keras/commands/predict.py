"""`spice predict`: new images, sorted by an exported model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.errors import UserError
from spice_keras.options import TableFormat
from spice_keras.progress import Screen


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The file; default: the screen.")
@click.option(
    "--format",
    "table",
    type=click.Choice(get_args(TableFormat)),
    help="Of the file; default: parquet if it ends in .parquet, else csv.",
)
@click.option("--second", is_flag=True, help="Add the second choice, and whether it is in doubt.")
@click.option("--embedding", is_flag=True, help="Add the embedding, a column for each feature.")
@click.option("--trust", is_flag=True, help="Load a model whose graph may read or write files.")
@loudness_options
def predict(
    model: Path,
    images: tuple[Path, ...],
    output: Path | None,
    table: TableFormat | None,
    quiet: bool,
    verbose: bool,
    trust: bool,
    **wanted: bool,
) -> None:
    """Sort new images with MODEL.

    IMAGES are files, folders, .npy or .npz arrays, .txt lists of paths, tar or TFRecord shards.
    A model of embeddings takes files of embeddings, or folders that `spice embed` wrote.

    MODEL is a run directory, saved_models/NAME (its newest version), or one version.
    """
    from spice_keras.runtime import start_tensorflow

    screen = Screen(chosen_loudness(quiet, verbose))
    table = table or ("parquet" if output is not None and output.suffix == ".parquet" else "csv")
    if table == "parquet" and output is None:
        raise UserError("A Parquet table is a file: name it with --output FILE.")
    if table == "csv" and output is not None and output.suffix == ".parquet":
        raise UserError(f"--format csv and --output {output} contradict each other; change one.")
    start_tensorflow(precision="float32", deterministic=False)
    from spice_keras.run.results import exported_model
    from spice_keras.run.table import refuse_missing_pyarrow
    from spice_keras.serving.predict import find_model, predict

    if table == "parquet":
        refuse_missing_pyarrow()
    found = predict(find_model(model, exported=exported_model), images, trust=trust)
    for skipped in found.skipped:
        screen.warn(f"skipped {skipped.path}: {skipped.reason}")
    if output is None:
        _show(found.columns(**wanted), found.rows(**wanted))
    else:
        found.write(output, table=table, **wanted)
        screen.say(f"{len(found.images)} images sorted into {output}")


def _show(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    """Write the table to standard output."""
    import csv

    from spice_keras.csv_cells import escaped_rows

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows(escaped_rows([header, *rows]))

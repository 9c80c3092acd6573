"""`spice predict`: new images, sorted by an exported model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import click

from spice_keras.commands.engine import EngineRequest, engine_options, write_with_engine
from spice_keras.commands.request import chosen_loudness, image_source, loudness_options
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
    help="Of the file; default: parquet if it ends in .parquet, else csv. Of shards: parquet.",
)
@click.option("--second", is_flag=True, help="Add the second choice, and whether it is in doubt.")
@click.option("--embedding", is_flag=True, help="Add the embedding, a column for each feature.")
@click.option("--trust", is_flag=True, help="Load a model whose graph may read or write files.")
@engine_options
@loudness_options
def predict(
    model: Path,
    images: tuple[Path, ...],
    output: Path | None,
    table: TableFormat | None,
    quiet: bool,
    verbose: bool,
    how: EngineRequest,
    **wanted: bool,
) -> None:
    """Sort new images with MODEL.

    With --engine: spice predict MODEL SOURCE OUT --engine local|ray sorts any number of them into a
    folder of tables, and the same command continues what was interrupted.

    IMAGES are files, folders, .npy or .npz arrays, .txt lists of paths, tar or TFRecord shards.
    A model of embeddings takes files of embeddings, or folders that `spice embed` wrote.

    MODEL is a run directory, saved_models/NAME (its newest version), or one version.
    """
    screen, trust = Screen(chosen_loudness(quiet, verbose)), wanted.pop("trust")
    if how.engine is not None:
        if output is not None or len(images) != 2:
            raise UserError(
                "With --engine, give one SOURCE and a folder OUT, and no --output: spice predict "
                "MODEL SOURCE OUT --engine local."
            )
        tables = {"table": table or "parquet", **wanted}
        _into_shards(model, images[0], images[1], how, screen, trust=trust, tables=tables)
        return
    how.refuse_without_engine()
    table = table or ("parquet" if output is not None and output.suffix == ".parquet" else "csv")
    if table == "parquet" and output is None:
        raise UserError("A Parquet table is a file: name it with --output FILE.")
    if table == "csv" and output is not None and output.suffix == ".parquet":
        raise UserError(f"--format csv and --output {output} contradict each other; change one.")
    from spice_keras.runtime import start_tensorflow_alone

    start_tensorflow_alone()
    from spice_keras.run.table import refuse_missing_pyarrow
    from spice_keras.serving.predict import find_model, predict

    if table == "parquet":
        refuse_missing_pyarrow()
    found = predict(find_model(model, exported=_exported_model), images, trust=trust)
    for skipped in found.skipped:
        screen.warn(f"skipped {skipped.path}: {skipped.reason}")
    if output is None:
        _show(found.columns(**wanted), found.rows(**wanted))
    else:
        found.write(output, table=table, **wanted)
        screen.say(f"{len(found.images)} images sorted into {output}")


def _exported_model(run: Path) -> Path:
    """The SavedModel of a run; reading a run, unlike a model, takes Keras."""
    from spice_keras.run.results import exported_model

    return exported_model(run)


def _into_shards(
    model: Path,
    source: Path,
    out: Path,
    how: EngineRequest,
    screen: Screen,
    *,
    trust: bool,
    tables: dict[str, Any],
) -> None:
    """Write a folder of tables."""
    from spice_keras.shards.folder import holds_embeddings

    of_embeddings = holds_embeddings(source)
    if of_embeddings and (how.rows is not None or how.max_skipped is not None):
        raise UserError(
            "--rows and --max-skipped are for images: embeddings in shards get a table for each "
            "shard. Leave them out."
        )
    kind = "embeddings" if of_embeddings else image_source(str(source))
    plan = how.plan()
    how.check()
    from spice_keras.runtime import tensorflow_session

    with tensorflow_session(precision="float32", deterministic=False):
        from spice_keras.engines.recipes import PredictRecipe
        from spice_keras.run.results import exported_model
        from spice_keras.serving.predict import find_model
        from spice_keras.serving.predicted_shards import Tables

        found = find_model(model, exported=exported_model).absolute()
        recipe = PredictRecipe(
            found, kind, source.absolute(), out.absolute(), Tables(**tables), trust, plan
        )
        write_with_engine(recipe, how, screen, name="predict", what="items sorted")


def _show(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    """Write the table to standard output."""
    import csv

    from spice_keras.csv_cells import escaped_rows

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows(escaped_rows([header, *rows]))

"""`spice embed`: images into shards of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spice_keras.commands.engine import EngineRequest, engine_options, write_with_engine
from spice_keras.commands.request import chosen_loudness, image_source, loudness_options
from spice_keras.errors import UserError
from spice_keras.options import LITE0
from spice_keras.progress import Screen


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--backbone", metavar="NAME", help=f"A pretrained encoder; default: {LITE0}.")
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Take the encoder that a run trained."
)
@click.option(
    "--size",
    type=click.IntRange(8, 512),
    help="Side of the images; default: that of the weights.",
)
@engine_options
@loudness_options
def embed(
    source: str,
    out: Path,
    quiet: bool,
    verbose: bool,
    how: EngineRequest,
    **choice: Any,
) -> None:
    """Encode the images of SOURCE into shards of embeddings in the folder OUT.

    SOURCE is a folder, a .txt list of paths, or tar or TFRecord shards. The same command continues
    what was interrupted. Several machines share OUT with --engine ray, or with --part. Next: spice
    self --embeddings OUT --sample 200000 --clusters K.
    """
    screen = Screen(chosen_loudness(quiet, verbose))
    kind, plan = image_source(source), how.plan()
    if choice["run_dir"] is not None and (choice["backbone"], choice["size"]) != (None, None):
        raise UserError("--run-dir names the encoder and its size; leave the others out.")
    how.check()
    from spice_keras.runtime import tensorflow_session

    with tensorflow_session():
        from spice_keras.engines.recipes import EmbedRecipe
        from spice_keras.run.encoder_choice import EncoderChoice

        if choice["run_dir"] is not None:
            choice["run_dir"] = choice["run_dir"].absolute()
        encoder = EncoderChoice(**choice)
        recipe = EmbedRecipe(kind, Path(source).absolute(), encoder, out.absolute(), plan)
        write_with_engine(recipe, how, screen, name="embed", what="embeddings of {dim} values")

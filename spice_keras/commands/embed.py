"""`spice embed`: images into shards of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spice_keras.commands.request import chosen_loudness, image_source, loudness_options
from spice_keras.errors import UserError
from spice_keras.options import LITE0
from spice_keras.progress import Screen

if TYPE_CHECKING:
    import keras


class _Part(click.ParamType):
    """`I/N`: which of N machines this is."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, _, last = str(value).partition("/")
        if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
            return int(first), int(last)
        self.fail(f"{value!r} must be I/N with 1 <= I <= N, for example 2/8.", param, ctx)


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--backbone", metavar="NAME", help=f"A pretrained encoder; default: {LITE0}.")
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Take the encoder that a run trained."
)
@click.option("--size", type=click.IntRange(8, 512), help="Side of the images; default: 224.")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Images of a shard.",
)
@click.option(
    "--part",
    type=_Part(),
    default="1/1",
    help="Of every N shards only the I-th: one of N machines.",
)
@click.option(
    "--max-skipped",
    type=click.FloatRange(0.0, 1.0),
    default=0.2,
    show_default=True,
    help="Share of a shard's files that may be no images.",
)
@loudness_options
def embed(source: str, out: Path, quiet: bool, verbose: bool, **options: Any) -> None:
    """Encode the images of SOURCE into shards of embeddings in the folder OUT.

    SOURCE is a folder, a .txt list of paths, or tar or TFRecord shards. The same command continues
    what was interrupted. Several machines share OUT with --part. Next: spice self --embeddings OUT
    --sample 200000 --clusters K.
    """
    from spice_keras.data.packing import encoded_source
    from spice_keras.data.sources import SourceOptions
    from spice_keras.runtime import start_tensorflow

    screen = Screen(chosen_loudness(quiet, verbose))
    name = image_source(source)
    start_tensorflow()
    encoder, facts = _encoder(options["run_dir"], options["backbone"], options["size"])
    side, fit = facts["image_size"], facts["fit"]
    opened = encoded_source(name, SourceOptions(path=source, image_size=side, fit=fit))
    from spice_keras.serving.embedding import ShardPlan, embed_source

    plan = ShardPlan(options["rows"], options["part"], options["max_skipped"])
    share = len(opened) // options["part"][1]
    with screen.task("embed", share) as task:
        manifest = embed_source(opened, encoder, out, plan=plan, facts=facts, advance=task.advance)
    if manifest is None:
        screen.say(f"embed: the shards of this part are in {out}; other parts are missing.")
        return
    dim = manifest.facts["dim"]
    screen.say(
        f"embed: {manifest.rows:,} embeddings of {dim} values in {len(manifest.shards)} shards, in "
        f"{out}"
    )


def _encoder(
    run_dir: Path | None, backbone: str | None, size: int | None
) -> tuple[keras.Model, dict[str, Any]]:
    """Build the encoder that is asked for; and what tells it from others."""
    import hashlib

    from spice_keras.config import load_config
    from spice_keras.run.networks import build_initial_encoder, pretrained_encoder

    if run_dir is not None:
        if backbone is not None or size is not None:
            raise UserError("--run-dir names the encoder and its size; leave the others out.")
        from spice_keras.run.configuration import read_run_config
        from spice_keras.run.context import Context
        from spice_keras.run.directory import RunDirectory, must_hold_run

        must_hold_run(run_dir)
        config = read_run_config(run_dir)
        encoder = pretrained_encoder(Context(config, RunDirectory(run_dir)))
    else:
        overrides: dict[str, Any] = {"data.source": "folder", "data.path": "."}
        if backbone is not None:
            overrides["backbone.name"] = backbone
        if size is not None:
            overrides["data.image_size"] = size
        config = load_config("pretrained", overrides=overrides)
        if config.trains_encoder:
            raise UserError(
                f"--backbone {config.backbone.name} comes without weights. Train it with `spice "
                "pretrain`, then give --run-dir."
            )
        encoder = build_initial_encoder(
            config.backbone, image_size=config.data.image_size, seed=config.seed
        )
    digest = hashlib.sha256()
    for weight in encoder.get_weights():
        digest.update(weight.tobytes())
    facts = {
        "backbone": config.backbone.name,
        "image_size": config.data.image_size,
        "fit": config.data.fit,
        "weights": digest.hexdigest(),
    }
    return encoder, facts

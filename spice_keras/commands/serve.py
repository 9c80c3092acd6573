"""`spice serve`: an exported model behind TensorFlow Serving's REST protocol."""

from __future__ import annotations

from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.options import ServiceLimits
from spice_keras.progress import Screen

_DEFAULT = ServiceLimits()


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, help="0: any free port.")
@click.option(
    "--max-batch",
    type=click.IntRange(1, 4096),
    default=_DEFAULT.batch_size,
    help="Items asked about at once.",
)
@click.option(
    "--batch-wait-ms",
    type=click.IntRange(0, 10_000),
    default=_DEFAULT.wait_ms,
    help="Longest wait for a batch to fill.",
)
@click.option(
    "--max-request-mb",
    type=click.IntRange(1, 4096),
    default=_DEFAULT.request_mb,
    help="Largest request.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(1, 100_000),
    default=_DEFAULT.waiting,
    help="Requests at once; further ones are told to come back.",
)
@click.option("--trust", is_flag=True, help="Load a model whose graph may read or write files.")
@loudness_options
def serve(
    model: Path, host: str, port: int, quiet: bool, verbose: bool, trust: bool, **limits: int
) -> None:
    """Answer requests about images with MODEL, saved_models/NAME, until SIGTERM or Ctrl-C.

    The protocol is TensorFlow Serving's REST protocol. New versions of the model are picked up.
    """
    from spice_keras.extras import require_extra

    for module in ("starlette", "uvicorn"):
        require_extra("serve", module, purpose="spice serve", otherwise="use TensorFlow Serving")
    from spice_keras.runtime import start_tensorflow_alone

    screen = Screen(chosen_loudness(quiet, verbose))
    start_tensorflow_alone()
    from spice_keras.serving.service import serve_model

    chosen = ServiceLimits(
        batch_size=limits["max_batch"],
        wait_ms=limits["batch_wait_ms"],
        request_mb=limits["max_request_mb"],
        waiting=limits["max_waiting"],
    )
    serve_model(model, (host, port), limits=chosen, trust=trust, screen=screen)

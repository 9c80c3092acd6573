"""`spice review`: a local page on which a person looks at the clusters and corrects them."""

from __future__ import annotations

from pathlib import Path

import click

from spice_keras.commands.request import chosen_loudness, loudness_options
from spice_keras.progress import Screen


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@loudness_options
def review(run_dir: Path, port: int, no_browser: bool, quiet: bool, verbose: bool) -> None:
    """Look at the clusters of a RUN on a local page; name, merge, split and correct them.

    Every edit is kept at once in edits.jsonl of the run, whose automatic result stays. `spice
    apply` then makes a corrected run of it.
    """
    import webbrowser

    from spice_keras.extras import require_extra
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import RunDirectory, refuse_no_run
    from spice_keras.runtime import start_tensorflow

    for module in ("starlette", "uvicorn"):
        require_extra(
            "review", module, purpose="spice review", otherwise="read report.html in the run"
        )
    refuse_no_run(run_dir)
    screen = Screen(chosen_loudness(quiet, verbose))
    config = read_run_config(run_dir)
    start_tensorflow(precision="float32")
    from spice_keras.review.server import serve_review
    from spice_keras.review.session import ReviewSession
    from spice_keras.run.context import Context

    session = ReviewSession(Context(config, RunDirectory(run_dir), screen))
    serve_review(session, port=port, screen=screen, opened=None if no_browser else webbrowser.open)

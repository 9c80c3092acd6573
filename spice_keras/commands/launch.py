"""`spice launch`: a command as several workers on this machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--workers",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    metavar="N",
    help="Processes to start.",
)
@click.option(
    "--logs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("worker-logs"),
    show_default=True,
    help="Folder for the output of all workers but the chief.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def launch(ctx: click.Context, workers: int, logs: Path, command: tuple[str, ...]) -> None:
    r"""Run COMMAND as several workers on this machine, to try --strategy multiworker.

    Write COMMAND after --, for example:

    \b
    spice launch --workers 2 -- spice run digits --strategy multiworker

    Each worker gets TF_CONFIG with free ports. The chief's output is shown; if one worker ends
    badly, all are ended, and its exit code is that of this command.
    """
    from spice_keras.run.local_workers import run_local_workers

    code = run_local_workers(command, workers, logs)
    if code:
        click.echo(f"A worker ended with code {code}; {logs} holds what the others said.", err=True)
    ctx.exit(code)

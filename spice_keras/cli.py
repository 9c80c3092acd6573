"""The `spice` command: its subcommands, and how it ends when something is wrong."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from spice_keras.commands.ablate import ablate
from spice_keras.commands.apply import apply
from spice_keras.commands.configs import configs
from spice_keras.commands.edits import edits
from spice_keras.commands.embed import embed
from spice_keras.commands.export import export
from spice_keras.commands.groups import groups
from spice_keras.commands.launch import launch
from spice_keras.commands.name import name
from spice_keras.commands.organize import organize
from spice_keras.commands.pack import pack
from spice_keras.commands.predict import predict
from spice_keras.commands.repair import repair
from spice_keras.commands.reproduce import reproduce
from spice_keras.commands.review import review
from spice_keras.commands.run import run
from spice_keras.commands.serve import serve
from spice_keras.commands.stages import STAGE_COMMANDS
from spice_keras.errors import Terminated, UserError, termination_raises
from spice_keras.files import storage_problem
from spice_keras.run.lock import release_claims


def _way_on(ctx: click.Context) -> str:
    """How to go on with the command that was interrupted, if it can be."""
    command = main.commands.get(ctx.invoked_subcommand or "")
    if command is None or "resume" not in {param.name for param in command.params}:
        return ""
    if "--redo" in sys.argv:
        return " The same command with --resume in place of --redo continues."
    return " The same command with --resume continues."


class _Group(click.Group):
    """Lists the commands in the order of a run and turns user errors into exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        _write_any_name()
        with termination_raises():
            try:
                return self._ended(ctx)
            finally:
                release_claims()

    def _ended(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except (BrokenPipeError, click.ClickException):  # Click ends them as it should
            raise
        except Terminated:
            click.echo(f"Ended by SIGTERM.{_way_on(ctx)}", err=True)
            ctx.exit(143)
        except KeyboardInterrupt:
            click.echo(f"Interrupted.{_way_on(ctx)}", err=True)
            ctx.exit(130)
        except Exception as error:
            # A full disk, a folder without permission: TensorFlow has exceptions of its own.
            problem = storage_problem(error)
            if "--verbose" in sys.argv or not (problem or isinstance(error, OSError)):
                raise
            place = getattr(error, "filename", None) or "The output"
            what = f"{place} cannot be written: {problem}." if problem else str(error)
            click.echo(f"Error: {what}", err=True)
            ctx.exit(2)


def _write_any_name() -> None:
    """Let standard output and error write what their encoding lacks as backslash escapes.

    A name that a terminal cannot show, in cp1252 or cp932 for one, must not end a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# Click keeps the lines of a paragraph that begins with \b as they are.
_EXAMPLES = """\b
spice run                                   cluster scikit-learn's digits
spice run --images photos/ --clusters 12    cluster your own
spice predict saved_models/photos/1 new/    sort new images
"""


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spice-keras")
def main() -> None:
    """Deep image clustering: from unlabelled images to clusters, a report and a SavedModel."""


_COMMANDS = (
    run,
    *STAGE_COMMANDS,
    export,
    repair,
    reproduce,
    name,
    ablate,
    predict,
    serve,
    groups,
    review,
    edits,
    apply,
    organize,
    embed,
    pack,
    launch,
    configs,
)
for _command in _COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    main()

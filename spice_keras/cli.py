"""The `spice` command: its subcommands, and how it ends when something is wrong."""

from __future__ import annotations

import sys
from typing import Any

import click

from spice_keras.commands.ablate import ablate
from spice_keras.commands.apply import apply
from spice_keras.commands.configs import configs
from spice_keras.commands.edits import edits
from spice_keras.commands.groups import groups
from spice_keras.commands.name import name
from spice_keras.commands.organize import organize
from spice_keras.commands.predict import predict
from spice_keras.commands.review import review
from spice_keras.commands.run import run
from spice_keras.commands.stages import STAGE_COMMANDS
from spice_keras.errors import UserError


class _Group(click.Group):
    """Lists the commands in the order of a run and turns user errors into exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # `spice predict ... | head`: Click ends it quietly
            raise
        except OSError as error:  # a full disk, a folder without permission
            if "--verbose" in sys.argv:
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("Interrupted. The same command with --resume continues.", err=True)
            ctx.exit(130)


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
    *(run, *STAGE_COMMANDS, name, ablate, predict, groups),
    *(review, edits, apply, organize, configs),
)
for _command in _COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    main()

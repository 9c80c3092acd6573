from __future__ import annotations

import io
import sys

import click
import pytest
from click.testing import CliRunner

from spice_keras.cli import _Group
from spice_keras.cli import main as commands
from spice_keras.errors import UserError


@click.group(cls=_Group)
def main() -> None:
    """Stands for the command."""


@main.command()
def names() -> None:
    """Writes names as a table of predictions does, and one in an error."""
    sys.stdout.write("Kühlschrank,犬\n")
    raise UserError("There is no file 犬.png.")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("cp1252", ("Kühlschrank,\\u72ac", "\\u72ac.png")),
        ("latin-1", ("Kühlschrank,\\u72ac", "\\u72ac.png")),
        ("cp932", ("K\\xfchlschrank,犬", "犬.png")),
        ("utf-8", ("Kühlschrank,犬", "犬.png")),
    ],
)
def test_a_name_that_the_terminal_lacks_ends_no_command(
    encoding: str, shown: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main(["names"])
    sys.stdout.flush()
    sys.stderr.flush()
    assert ended.value.code == 2
    assert shown[0] in out.getvalue().decode(encoding)
    assert shown[1] in err.getvalue().decode(encoding)


def test_the_output_of_a_test_is_left_alone() -> None:
    assert CliRunner().invoke(main, ["names"]).exit_code == 2


def test_no_command_has_two_options_of_one_name() -> None:
    """The later one would win, and click warns whoever types the command."""
    for name, command in commands.commands.items():
        options = [one for param in command.params for one in (*param.opts, *param.secondary_opts)]
        assert len(set(options)) == len(options), name
    assert {"formats", "precision"} <= {one.name for one in commands.commands["export"].params}

"""Tries the newest releases of everything the package needs, its upper bounds left out.

    python -m tools.newest
    python -m tools.newest tests/algorithm tests/models

It installs what pyproject.toml asks for, without upper bounds, into a clean environment, says which
releases lie beyond a bound, and runs the tests there. A bound whose newer release passes can be
raised; a release that fails is known before users meet it. `.github/workflows/newest.yml` schedules
it for Mondays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools.licences import asked_for

ROOT = Path(__file__).resolve().parents[1]
_LIST = ("-m", "pip", "list", "--format=json", "--disable-pip-version-check")


def without_upper_bounds(requirement: Requirement) -> str:
    """Return a requirement that any newer release meets.

    Args:
        requirement: As it stands in pyproject.toml.

    Returns:
        The same with `<`, `<=`, `==` and `~=` left out; a pinned release becomes the oldest that
        is taken. Releases that are left out by `!=` stay left out.

    Example:
        >>> without_upper_bounds(Requirement("numpy>=1.26,!=2.1,<3"))
        'numpy!=2.1,>=1.26'
        >>> without_upper_bounds(Requirement("keras-cv==0.9.0"))
        'keras-cv>=0.9.0'
    """
    open_ended = Requirement(str(requirement))
    kept = [
        f">={bound.version}" if bound.operator in ("==", "~=") else str(bound)
        for bound in requirement.specifier
        if bound.operator not in ("<", "<=")
    ]
    open_ended.specifier = SpecifierSet(",".join(kept))
    return str(open_ended)


def beyond_bounds(requirements: Iterable[Requirement], installed: Mapping[str, str]) -> list[str]:
    """Return which releases the bounds of pyproject.toml keep out.

    Args:
        requirements: With their bounds.
        installed: Name to release, names as `canonicalize_name` writes them.

    Returns:
        A line for each, sorted.

    Example:
        >>> beyond_bounds([Requirement("click>=8.2,<9")], {"click": "9.0.1"})
        ['click 9.0.1 lies outside <9,>=8.2']
    """
    found = {
        f"{line.name} {installed[name]} lies outside {line.specifier}"
        for line in requirements
        if (name := canonicalize_name(line.name)) in installed
        and not line.specifier.contains(installed[name], prereleases=True)
    }
    return sorted(found)


def installed_releases(listed: str) -> dict[str, str]:
    """Return name to release from what `pip list --format=json` prints.

    Example:
        >>> installed_releases('[{"name": "Keras", "version": "3.12.0"}]')
        {'keras': '3.12.0'}
    """
    return {canonicalize_name(one["name"]): one["version"] for one in json.loads(listed)}


def install(requirements: Sequence[Requirement], folder: Path) -> Path:
    """Install the newest releases and this checkout in a new virtual environment.

    Args:
        requirements: What to install, in the newest release that the others allow.
        folder: Where the environment is made.

    Returns:
        Its Python.

    Raises:
        click.ClickException: If no set of releases fits together, with what pip said.
    """
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [without_upper_bounds(line) for line in requirements]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([*pip, *wanted], [*pip, "--no-deps", "--editable", str(ROOT)]):
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise click.ClickException(
                f"The newest releases do not install together:\n{ended.stderr[-3000:].strip()}"
            )
    return python


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--extra", "extras", multiple=True, default=("dev",), show_default=True)
@click.argument("tests", nargs=-1, type=click.UNPROCESSED)
def main(extras: Sequence[str], tests: Sequence[str]) -> None:
    """Install the newest releases and run pytest there, with TESTS as its arguments if given."""
    requirements = [Requirement(line) for line in asked_for(extras)]
    with tempfile.TemporaryDirectory(prefix="newest-") as name:
        python = install(requirements, Path(name) / "venv")
        listed = subprocess.run([str(python), *_LIST], capture_output=True, text=True, check=True)
        beyond = beyond_bounds(requirements, installed_releases(listed.stdout))
        click.echo("\n".join(beyond or ["No newer release lies beyond a bound."]))
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ended = subprocess.run([str(python), "-m", "pytest", *tests], cwd=ROOT, env=clean)
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()

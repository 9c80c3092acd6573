"""Which run directory a command means when it names none, or one that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from spice_keras.artifacts import RunDirectory
from spice_keras.errors import UserError

_RUNS = Path("runs")


def free_run_dir(name: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, runs/NAME-3 that is not there."""
    folder, number = _RUNS / name, 2
    while folder.exists():
        folder, number = _RUNS / f"{name}-{number}", number + 1
    return folder


def latest_run_dir(name: str | None) -> Path:
    """Return the run directory below runs/ that was begun last, of this name or of any.

    Raises:
        UserError: Where there is none.
    """
    found = [
        path
        for path in _RUNS.glob("*/config.yaml")
        if name is None or re.fullmatch(re.escape(name) + r"(-\d+)?", path.parent.name)
    ]
    if not found:
        raise UserError(
            f"There is no run directory {_RUNS}/{name or 'NAME'} to go on with; name one with "
            "--run-dir, or begin with `spice run` or `spice pretrain`."
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def must_hold_run(path: Path) -> None:
    """Refuse a folder in which no run was begun.

    Raises:
        UserError: Where there is none; a later stage has nothing to go on with.
    """
    if not RunDirectory.holds_run(path):
        raise UserError(
            f"{path} holds no run to go on with; begin one with `spice run` or `spice pretrain`, "
            "or name another with --run-dir."
        )

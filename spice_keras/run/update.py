"""The staging area of an update: new artifacts beside the old ones, put in place all together.

An update of a run to a source that changed makes its artifacts in `update/`, each whole or not at
all, so that an update that was killed goes on where it was. When all are there, a list of them is
written; from then on the next command that holds the run's lock puts them in place, however often
it is killed. A run is therefore of the old items or of the new ones, never of both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import yaml

from spice_keras.config import RunConfig
from spice_keras.files import write_atomically, write_json
from spice_keras.run.damage import PUBLISHED
from spice_keras.run.directory import RunDirectory

STAGING, UPDATES = "update", "updates.json"
"""The folder of an update that is being made, and the list of those that were."""

_READY = "ready.json"
_BESIDE = ("plan.json", "skipped.csv", "decoding.log", "source.json", UPDATES)
_JUDGED = ("names", "evaluation", "export")


def past_updates(run: RunDirectory) -> list[dict[str, Any]]:
    """Return what each update of a run did, the oldest first; what is damaged is left out."""
    try:
        found = json.loads((run.path / UPDATES).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def staging(run: RunDirectory, config: RunConfig, source: object) -> RunDirectory:
    """Open the staging area of a run; what was staged of another source is removed.

    Args:
        run: The run.
        config: Its configuration.
        source: How the source looks now, JSON; None if that cannot be told.

    Returns:
        A run directory of its own below the run's.
    """
    folder, facts = run.path / STAGING, run.path / STAGING / "source.json"
    known = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        known = json.loads(facts.read_text("utf-8"))
    if source is None or known != source:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True)
    write_atomically(folder / "config.yaml", text.encode())
    if source is not None:
        write_json(facts, source)
    staged = RunDirectory(folder)
    staged.sweep()
    return staged


def drop_staging(run: RunDirectory) -> None:
    """Remove what an update staged that is no longer asked for."""
    shutil.rmtree(run.path / STAGING, ignore_errors=True)


def commit(run: RunDirectory, staged: RunDirectory, artifacts: Sequence[str]) -> None:
    """Put what was staged in the place of what it replaces, and forget what was made of that.

    Args:
        run: The run; the caller holds its lock.
        staged: From `staging`, with all these artifacts.
        artifacts: Their names.
    """
    write_json(staged.path / _READY, list(artifacts))
    finish_commit(run)


def finish_commit(run: RunDirectory) -> bool:
    """Go on with a commit that was begun; whether there was one."""
    folder = run.path / STAGING
    if not (folder / _READY).is_file():
        return False
    for name in _JUDGED:
        run.discard(name)
    for file in PUBLISHED:
        (run.path / file).unlink(missing_ok=True)
    shutil.rmtree(run.path / "figures", ignore_errors=True)
    for name in json.loads((folder / _READY).read_text("utf-8")):
        new, place = folder / "artifacts" / name, run.path / "artifacts" / name
        if new.is_dir():
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
    for file in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder / file, run.path / file)
    (folder / _READY).unlink()
    drop_staging(run)
    return True

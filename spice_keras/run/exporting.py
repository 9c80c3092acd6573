"""A SavedModel is put in place before the run notes it; what a kill between the two leaves goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from spice_keras.files import file_table, write_json
from spice_keras.run.directory import RunDirectory

EXPORTING = "exporting.json"


def claim_export(run: RunDirectory, folder: Path) -> None:
    """Note that a SavedModel is whole and about to be put in place.

    Args:
        run: The run directory; the caller holds its lock.
        folder: The SavedModel, beside the versions it will stand among.
    """
    claim = {"parent": str(folder.parent.resolve()), "files": file_table(folder)}
    write_json(run.path / EXPORTING, claim)


def remove_unnoted_export(run: RunDirectory) -> None:
    """Remove a SavedModel that was put in place and that the run does not know.

    It is known by the checksums of all its files; no two exports share them.

    Args:
        run: The run directory; the caller holds its lock.
    """
    path = run.path / EXPORTING
    if not path.is_file():
        return
    try:
        claim = json.loads(path.read_text("utf-8"))
        files, parent = claim["files"], Path(claim["parent"])
        if files and files != _noted(run):
            for version in [one for one in parent.iterdir() if one.name.isdecimal()]:
                if file_table(version) == files:
                    shutil.rmtree(version, ignore_errors=True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # what it names is gone, or it is damaged: nothing is removed on its word
    path.unlink(missing_ok=True)


def _noted(run: RunDirectory) -> object:
    """The files of the SavedModel that the run knows; None if it knows none."""
    if not run.has("export"):
        return None
    noted = run.path / "artifacts" / "export" / "export.json"
    return json.loads(noted.read_text("utf-8"))["files"]

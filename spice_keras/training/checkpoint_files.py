"""Checkpoints on disk, without Keras: which are whole, and of which epoch of which stage.

A checkpoint says inside itself what it is. A folder that was copied under another number, or to
another stage, is therefore not taken for one of these.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from spice_keras.files import sha256, write_json

WEIGHTS, STATE, FACTS = "model.npz", "state.npz", "checksums.json"
KERAS_WEIGHTS = "model.weights.h5"
"""What stood in place of `WEIGHTS` before; such a checkpoint is still gone on from."""

_NAME = re.compile(r"epoch-(\d{7,12})")


def checkpoint_folder(parent: Path, epoch: int) -> Path:
    """Return the folder of the checkpoint after an epoch."""
    return parent / f"epoch-{epoch:07d}"


def _facts(folder: Path, stage: str, epoch: int) -> dict[str, Any]:
    older = (folder / KERAS_WEIGHTS).is_file() and not (folder / WEIGHTS).exists()
    names = (KERAS_WEIGHTS if older else WEIGHTS, STATE)
    sums = {name: sha256(folder / name) for name in names}
    return {"stage": stage, "epoch": epoch, **sums}


def write_facts(folder: Path, *, stage: str, epoch: int) -> None:
    """Write what a checkpoint is, and the checksums of its files."""
    write_json(folder / FACTS, _facts(folder, stage, epoch))


def epoch_of(folder: Path) -> int | None:
    """Return the epochs completed, as a folder's name says; None for another folder."""
    found = _NAME.fullmatch(folder.name)
    return int(found[1]) if found else None


def is_whole(folder: Path) -> bool:
    """Tell whether a checkpoint is as it was written, and what its folder's name says."""
    epoch = epoch_of(folder)
    try:
        recorded = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if not isinstance(recorded, dict) or epoch is None:
            return False
        # Those of an older version do not say what they are.
        recorded = {"stage": folder.parent.name, "epoch": epoch} | recorded
        return recorded == _facts(folder, folder.parent.name, epoch)
    except (OSError, ValueError, RecursionError):
        return False


def checkpoints_in(parent: Path) -> list[Path]:
    """Return the folders that were written to the end, damaged since or not; the last one last."""
    found = [path for path in parent.glob("epoch-*") if (path / FACTS).is_file()]
    return sorted((path for path in found if epoch_of(path) is not None), key=_number)


def _number(folder: Path) -> int:
    return epoch_of(folder) or 0


def discard_damaged(parent: Path) -> list[str]:
    """Remove the checkpoints of a stage that are damaged or not its own.

    Args:
        parent: The folder of the stage's checkpoints.

    Returns:
        The names of those that were written to the end: what a person may miss.
    """
    kept = {path for path in checkpoints_in(parent) if is_whole(path)}
    gone = []
    for path in sorted(parent.glob("epoch-*")):
        if path in kept or not path.is_dir():
            continue
        if (path / FACTS).is_file():
            gone.append(path.name)
        shutil.rmtree(path, ignore_errors=True)
    return gone

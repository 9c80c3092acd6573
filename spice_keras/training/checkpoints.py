"""Checkpoints at the ends of epochs: whole, verified, the last one kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, sha256, write_json

_WEIGHTS, _STATE, _SUM = "model.weights.h5", "state.npz", "checksums.json"


def _checksums(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in (_WEIGHTS, _STATE)}


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: Where they lie; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _complete(self) -> list[Path]:
        return sorted(p for p in self._folder.glob("epoch-*") if (p / _SUM).is_file())

    def save(self, epoch: int, model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
        """Save a built, compiled model with its optimizer, and arrays beside it.

        Args:
            epoch: Epochs completed.
            model: What is being trained.
            state: What the callbacks carry from epoch to epoch.
        """
        target = self._folder / f"epoch-{epoch:07d}"
        with atomic_folder(target) as folder:
            model.save_weights(folder / _WEIGHTS)
            arrays: dict[str, Any] = dict(state)
            np.savez(folder / _STATE, **arrays)
            write_json(folder / _SUM, _checksums(folder))
        for old in self._folder.iterdir():
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    def restore(self, model: keras.Model) -> tuple[int, dict[str, np.ndarray]]:
        """Load the last checkpoint into a built, compiled model.

        Args:
            model: The same model as was saved; its optimizer must be built.

        Returns:
            Epochs completed (0 if there is no checkpoint), and the saved arrays.

        Raises:
            UserError: If the checkpoint is damaged.
        """
        complete = self._complete()
        if not complete:
            return 0, {}
        folder = complete[-1]
        try:
            recorded = json.loads((folder / _SUM).read_text(encoding="utf-8"))
            intact = recorded == _checksums(folder)
        except (OSError, ValueError):
            intact = False
        if not intact:
            raise UserError(
                f"The checkpoint {folder} is damaged; delete it to start this stage afresh."
            )
        model.load_weights(folder / _WEIGHTS)
        with np.load(folder / _STATE, allow_pickle=False) as archive:
            state = {name: archive[name] for name in archive.files}
        return int(folder.name.removeprefix("epoch-")), state

    def clear(self) -> None:
        """Remove them: the stage is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

"""Checkpoints at the ends of epochs: whole, verified, the last one kept."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, reserve, write_atomically
from spice_keras.training.checkpoint_files import (
    STATE,
    WEIGHTS,
    checkpoint_folder,
    checkpoints_in,
    epoch_of,
    is_whole,
    write_facts,
)

_ROOM = 2**20  # for what a file holds beside its numbers


def model_bytes(model: keras.Model) -> int:
    """Return the bytes of all variables of a model, its optimizer's included."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    return sum(
        int(np.prod(variable.shape)) * np.dtype(keras.backend.standardize_dtype(variable.dtype)
        .replace("bfloat16", "float32")
        .replace("string", "uint8")).itemsize
        for variable in variables
    )  # fmt: skip


def save_weights(model: keras.Model, path: Path) -> None:
    """Save a model's weights, once it is certain that there is room for them.

    HDF5 ends the process if the disk is full in the middle of a file.

    Args:
        model: The model, built.
        path: The file, `*.weights.h5`; its folder is there.

    Raises:
        OSError: If there is no room.
    """
    reserve(path.parent, model_bytes(model) + _ROOM)
    model.save_weights(path)


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: Where they lie, named after the stage; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, epoch: int, model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
        """Save a built, compiled model with its optimizer, and arrays beside it.

        Args:
            epoch: Epochs completed.
            model: What is being trained.
            state: What the callbacks carry from epoch to epoch.

        Raises:
            OSError: If it cannot be written; the last one is still there.
        """
        target = checkpoint_folder(self._folder, epoch)
        with atomic_folder(target) as folder:
            save_weights(model, folder / WEIGHTS)
            arrays: dict[str, Any] = dict(state)
            archive = io.BytesIO()
            np.savez(archive, **arrays)
            write_atomically(folder / STATE, archive.getvalue())
            write_facts(folder, stage=self._folder.name, epoch=epoch)
        for old in self._folder.iterdir():
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    @property
    def completed(self) -> int:
        """Epochs completed at the last checkpoint; 0 without one."""
        complete = checkpoints_in(self._folder)
        return (epoch_of(complete[-1]) or 0) if complete else 0

    def restore(self, model: keras.Model) -> tuple[int, dict[str, np.ndarray]]:
        """Load the last checkpoint into a built, compiled model.

        Args:
            model: The same model as was saved; its optimizer must be built.

        Returns:
            Epochs completed (0 if there is no checkpoint), and the saved arrays.

        Raises:
            UserError: If the checkpoint is damaged, or another model's.
        """
        complete = checkpoints_in(self._folder)
        if not complete:
            return 0, {}
        folder = complete[-1]
        if not is_whole(folder):
            raise UserError(
                f"The checkpoint {folder} is damaged, or was copied there from another place; "
                "--resume removes it, and this stage goes on from an earlier one or begins again."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Keras only warns of an optimizer that is left out
                model.load_weights(folder / WEIGHTS)
            # Opened here, as NumPy leaves the file of a damaged archive open.
            with (folder / STATE).open("rb") as file, np.load(file) as archive:
                state = {name: archive[name] for name in archive.files}
        except Exception as error:  # a damaged file of HDF5 raises nearly anything
            raise UserError(
                f"The checkpoint {folder} does not fit the model of this stage. Delete it to begin "
                "the stage again."
            ) from error
        return epoch_of(folder) or 0, state

    def clear(self) -> None:
        """Remove them: the stage is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

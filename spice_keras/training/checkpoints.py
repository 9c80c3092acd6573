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
    KERAS_WEIGHTS,
    STATE,
    WEIGHTS,
    checkpoint_folder,
    checkpoints_in,
    epoch_of,
    is_whole,
    write_facts,
)

_ROOM = 2**20  # for what a file holds beside its numbers


def trained_variables(model: keras.Model) -> list[keras.Variable]:
    """Return what a model must find again to train on: its variables and its optimizer's.

    Those of metrics are left out: they begin each epoch anew, and reading them asks all workers.

    Args:
        model: The model, built, with or without an optimizer.

    Returns:
        The variables, in an order that the model's class and architecture fix.
    """
    metrics = {id(variable) for variable in model.metrics_variables}
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    return [variable for variable in variables if id(variable) not in metrics]


def _held_as(variable: keras.Variable) -> np.dtype[Any]:
    """Return the type that a file holds a variable in: NumPy cannot read bfloat16 again."""
    name = keras.backend.standardize_dtype(variable.dtype)
    return np.dtype({"bfloat16": "float32", "string": "uint8"}.get(name, name))


def model_bytes(model: keras.Model) -> int:
    """Return the bytes of all variables that training goes on from, as files hold them."""
    return sum(
        int(np.prod(variable.shape)) * _held_as(variable).itemsize
        for variable in trained_variables(model)
    )


def save_weights(model: keras.Model, path: Path) -> None:
    """Save a model's weights for Keras, once it is certain that there is room for them.

    HDF5 ends the process if the disk is full in the middle of a file.

    Args:
        model: The model, built.
        path: The file, `*.weights.h5`; its folder is there.

    Raises:
        OSError: If there is no room.
    """
    reserve(path.parent, model_bytes(model) + _ROOM)
    model.save_weights(path)


def _write_variables(path: Path, model: keras.Model) -> None:
    """Write the variables as an archive of arrays, in a tenth of the time of Keras's file.

    They have numbers for names: Keras counts layers of a kind within a process, so the same model
    has other names in the next.
    """
    reserve(path.parent, model_bytes(model) + _ROOM)
    named: dict[str, Any] = {
        f"{number:05d}": keras.ops.convert_to_numpy(variable).astype(_held_as(variable), copy=False)
        for number, variable in enumerate(trained_variables(model))
    }
    np.savez(path, **named)


def _read_variables(path: Path, model: keras.Model) -> None:
    """Load what `_write_variables` wrote; ValueError, and nothing loaded, if it does not fit."""
    variables = trained_variables(model)
    # Opened here, as NumPy leaves the file of a damaged archive open.
    with path.open("rb") as file, np.load(file) as archive:
        arrays = [archive[name] for name in sorted(archive.files)]
    found = [(array.shape, array.dtype) for array in arrays]
    wanted = [(tuple(variable.shape), _held_as(variable)) for variable in variables]
    if found != wanted:
        raise ValueError(f"expected variables of {wanted}, received {found}")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _load_with_optimizer(path: Path, model: keras.Model) -> None:
    """Load the file of Keras that checkpoints held before they held arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras only warns of an optimizer that is left out
        model.load_weights(path)


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
            _write_variables(folder / WEIGHTS, model)
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
            if (folder / WEIGHTS).is_file():
                _read_variables(folder / WEIGHTS, model)
            else:
                _load_with_optimizer(folder / KERAS_WEIGHTS, model)
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

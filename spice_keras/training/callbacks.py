"""Keras callbacks that a stage hangs into `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from spice_keras.errors import UserError
from spice_keras.progress import Task
from spice_keras.training.checkpoints import Checkpoints, trained_variables


class CarriesState(keras.callbacks.Callback):
    """A callback with a memory that checkpoints must keep."""

    def state(self) -> dict[str, np.ndarray]:
        """Return the memory as arrays."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take the memory back from arrays."""


class ShowProgress(keras.callbacks.Callback):
    """Moves a task's bar, a step a batch, with the named figures beside it.

    Args:
        task: The task on the screen.
        figures: Names of logs to show, with how to print them.
    """

    def __init__(self, task: Task, figures: Mapping[str, str]) -> None:
        super().__init__()
        self._task, self._figures = task, figures

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count one step."""
        shown = [
            text.format(float(value))
            for name, text in self._figures.items()
            if (value := (logs or {}).get(name)) is not None
        ]
        self._task.note(" · ".join(shown))
        self._task.advance()


class LogEpoch(keras.callbacks.Callback):
    """Hands each epoch's figures to a writer; put it after callbacks that add figures.

    Args:
        write: Takes a row: `epoch` (from 0), the logs, and `images_per_second`.
        task: Where the rate is read.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], task: Task) -> None:
        super().__init__()
        self._write, self._task = write, task

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the row."""
        row: dict[str, Any] = {"epoch": epoch}
        row |= {
            name: value if isinstance(value, list) else float(value)
            for name, value in (logs or {}).items()
        }
        row["images_per_second"] = round(self._task.rate, 1)
        self._write(row)


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends a run if its loss is NaN or infinite, saying where and what to try.

    Args:
        stage: The stage, for the message.
        learning_rate: The option that sets its learning rate.
    """

    def __init__(self, stage: str, learning_rate: str) -> None:
        super().__init__()
        self._stage, self._option = stage, learning_rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the running loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            advice = f"Lower the learning rate (--set {self._option}=...)"
            if keras.config.dtype_policy().name != "float32":
                advice += " or use --set precision=float32"
            raise UserError(
                f"{self._stage} diverged: the loss is {loss} at step {batch} of the epoch. "
                f"{advice}."
            )


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves the model, and what the stateful callbacks carry, each few epochs.

    Args:
        checkpoints: Where.
        every: Epochs between two.
        carriers: The callbacks whose state is saved along.
        epochs: The last epoch needs none: the stage writes its artifact then.
    """

    def __init__(
        self, checkpoints: Checkpoints, *, every: int, carriers: list[CarriesState], epochs: int
    ) -> None:
        super().__init__()
        self._checkpoints, self._every = checkpoints, every
        self._carriers, self._epochs = carriers, epochs
        self._unsaved: tuple[int, list[np.ndarray], dict[str, np.ndarray]] | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save when it is time; otherwise keep in memory what `save_unsaved` would save."""
        completed = epoch + 1
        if completed >= self._epochs:
            return
        state: dict[str, np.ndarray] = {}
        for carrier in self._carriers:
            state |= carrier.state()
        if completed % self._every == 0:
            self._checkpoints.save(completed, self.model, state)
            self._unsaved = None
        else:
            self._unsaved = completed, [np.array(v) for v in trained_variables(self.model)], state

    def save_unsaved(self) -> int | None:
        """Save the last epoch that ended, if it is not: training was interrupted after it.

        Returns:
            Epochs completed; None if there was nothing to save.
        """
        if self._unsaved is None:
            return None
        completed, values, state = self._unsaved
        self._unsaved = None
        for variable, value in zip(trained_variables(self.model), values, strict=True):
            variable.assign(value)
        self._checkpoints.save(completed, self.model, state)
        return completed


class EstimateRun(keras.callbacks.Callback):
    """Says early, from timed steps, how long the rest of the run will take.

    Args:
        say: Takes the seconds one step needs.
    """

    SKIP, COUNT = 3, 10

    def __init__(self, say: Callable[[float], None]) -> None:
        super().__init__()
        self._say = say
        self._seen, self._began = 0, 0.0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Time the steps after the first few."""
        self._seen += 1
        if self._seen == self.SKIP:
            self._began = time.monotonic()
        elif self._seen == self.SKIP + self.COUNT:
            self._say((time.monotonic() - self._began) / self.COUNT)

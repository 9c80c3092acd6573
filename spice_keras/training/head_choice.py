"""The choice of one head, by its loss over the whole set and without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.training.callbacks import CarriesState
from spice_keras.training.head_history import HeadHistory

HeadLosses = Callable[[np.ndarray], np.ndarray]
"""Logits of every head for the whole set [H, N, K] to the loss of each head [H]."""

_HISTORY = "history_"


class HeadSelection(CarriesState):
    """Keeps the weights of the epoch and the head with the smallest loss over the whole set.

    Args:
        features: Of the un-augmented items, float32 [N, D].
        losses: What each head is judged by.
        first_epoch: Epoch from which heads are judged, from 0. In the first ones a head can have
            a small loss on labels it has only just made.
        history: Is told of every judged epoch; None to remember none.
        every: Epochs from one judgement to the next; the last epoch is always judged.

    SPICE (arXiv 2103.09382) Sec. 3.2: the loss chooses, labels do not.
    """

    def __init__(
        self,
        features: np.ndarray,
        losses: HeadLosses,
        first_epoch: int = 0,
        history: HeadHistory | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        self._features, self._losses = features, losses
        self.first_epoch, self.history, self.every = first_epoch, history, every
        self.loss, self.epoch, self.head = np.inf, -1, -1
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score every head and keep the best seen."""
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        logits = head_logits(self.model, self._features)
        losses = self._losses(logits)
        # A head that diverged must not hide the others: argmin takes NaN for the smallest.
        head = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
        best = bool(losses[head] < self.loss and epoch >= self.first_epoch)
        if best:
            self.loss, self.epoch, self.head = float(losses[head]), epoch, head
            self.weights = self.model.classifier.get_weights()
        if self.history is not None:
            self.history.record(epoch, losses, logits, best=best)
        if logs is not None:
            logs["head_losses"] = [float(loss) for loss in losses]
            if self.epoch >= 0:
                logs["selected_loss"] = self.loss

    def state(self) -> dict[str, np.ndarray]:
        """Return the choice so far, and the history."""
        weights = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        chosen = np.array([self.loss, self.epoch, self.head], np.float64)
        past = {} if self.history is None else self.history.arrays()
        return {
            "chosen": chosen,
            **weights,
            **{f"{_HISTORY}{name}": array for name, array in past.items()},
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a choice back."""
        loss, epoch, head = state["chosen"]
        self.loss, self.epoch, self.head = float(loss), int(epoch), int(head)
        count = sum(name.startswith("weight_") for name in state)
        self.weights = [state[f"weight_{i}"] for i in range(count)]
        if self.history is not None:
            past = {name: array for name, array in state.items() if name.startswith(_HISTORY)}
            self.history.restore({n.removeprefix(_HISTORY): array for n, array in past.items()})


def head_logits(model: keras.Model, features: np.ndarray, block: int = 4096) -> np.ndarray:
    """Return the logits of every head, float32 [H, N, K], by blocks of rows."""
    blocks = [
        model(tf.convert_to_tensor(features[start : start + block])).numpy()
        for start in range(0, len(features), block)
    ]
    return np.concatenate(blocks, axis=1)

"""The choice of one head, by its loss over the whole set and without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.training.callbacks import CarriesState

HeadLosses = Callable[[np.ndarray], np.ndarray]
"""Logits of every head for the whole set [H, N, K] to the loss of each head [H]."""


class HeadSelection(CarriesState):
    """Keeps the weights of the epoch and the head with the smallest loss over the whole set.

    Args:
        features: Of the un-augmented items, float32 [N, D].
        losses: What each head is judged by.
        first_epoch: Epoch from which heads are judged, from 0. In the first ones a head can have
            a small loss on labels it has only just made.

    SPICE (arXiv 2103.09382) Sec. 3.2: the loss chooses, labels do not.
    """

    def __init__(self, features: np.ndarray, losses: HeadLosses, first_epoch: int = 0) -> None:
        super().__init__()
        self._features, self._losses, self._first = features, losses, first_epoch
        self.loss, self.epoch, self.head = np.inf, -1, -1
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score every head and keep the best seen."""
        losses = self._losses(head_logits(self.model, self._features))
        # A head that diverged must not hide the others: argmin takes NaN for the smallest.
        head = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
        if losses[head] < self.loss and epoch >= self._first:
            self.loss, self.epoch, self.head = float(losses[head]), epoch, head
            self.weights = self.model.classifier.get_weights()
        if logs is not None:
            logs["head_losses"] = [float(loss) for loss in losses]
            if self.epoch >= 0:
                logs["selected_loss"] = self.loss

    def state(self) -> dict[str, np.ndarray]:
        """Return the choice so far."""
        weights = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        chosen = np.array([self.loss, self.epoch, self.head], np.float64)
        return {"chosen": chosen, **weights}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a choice back."""
        loss, epoch, head = state["chosen"]
        self.loss, self.epoch, self.head = float(loss), int(epoch), int(head)
        self.weights = [state[f"weight_{i}"] for i in range(len(state) - 1)]


def head_logits(model: keras.Model, features: np.ndarray, block: int = 4096) -> np.ndarray:
    """Return the logits of every head, float32 [H, N, K], by blocks of rows."""
    blocks = [
        model(tf.convert_to_tensor(features[start : start + block])).numpy()
        for start in range(0, len(features), block)
    ]
    return np.concatenate(blocks, axis=1)

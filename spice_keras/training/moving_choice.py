"""The choice of one head where the encoder changes while the heads train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from spice_keras.training.head_choice import HeadLosses, HeadSelection
from spice_keras.training.head_history import HeadHistory

_ENCODER = "encoder_"


class MovingHeadSelection(HeadSelection):
    """Encodes the whole set anew after each epoch, and keeps the encoder along with the heads.

    Args:
        encode: Gives the features of the un-augmented items, float32 [N, D], as the encoder now
            sees them.
        encoder: What changes: its weights, its batch statistics, or both.
        losses: What each head is judged by.
        first_epoch: Epoch from which heads are judged, from 0.
        history: Is told of every epoch; None to remember none.

    SPICE (arXiv 2103.09382) Table 4, "Conv-SH" and "Conv-MH".
    """

    def __init__(
        self,
        encode: Callable[[], np.ndarray],
        encoder: keras.Model,
        losses: HeadLosses,
        first_epoch: int = 0,
        history: HeadHistory | None = None,
    ) -> None:
        super().__init__(np.empty((0, 0), np.float32), losses, first_epoch, history)
        self._encode, self.encoder = encode, encoder
        self.encoder_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score every head on features of this epoch and keep the best seen."""
        self._features = self._encode()
        super().on_epoch_end(epoch, logs)
        if self.epoch == epoch:
            self.encoder_weights = self.encoder.get_weights()

    def put_back(self) -> None:
        """Set the encoder to what it was when the head was chosen."""
        self.encoder.set_weights(self.encoder_weights)

    def state(self) -> dict[str, np.ndarray]:
        """Return the choice so far, the chosen encoder with it."""
        encoder = {f"{_ENCODER}{i}": weight for i, weight in enumerate(self.encoder_weights)}
        return super().state() | encoder

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a choice back."""
        super().restore(state)
        count = sum(name.startswith(_ENCODER) for name in state)
        self.encoder_weights = [state[f"{_ENCODER}{i}"] for i in range(count)]

"""The choice of one head where the encoder changes while the heads train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.training.callbacks import CarriesState

MAX_BYTES = 2**25


class HeadHistory:
    """Remembers what every head was judged by and what it said, for the evaluation.

    The losses of every epoch are kept. Clusters are kept for every epoch while they fit into
    `max_bytes`, for every second, third, ... one beyond, the last epoch always among them and the
    best one beside them, and for none where one epoch alone does not fit. No label is needed, and
    none is seen: the evaluation compares the clusters with labels afterwards.

    Args:
        epochs: Epochs of the whole training.
        max_bytes: Largest size of the clusters kept, the best epoch's aside.

    SPICE (arXiv 2103.09382) Fig. 4.
    """

    def __init__(self, epochs: int, max_bytes: int = MAX_BYTES) -> None:
        self._total, self._max_bytes = epochs, max_bytes
        self._losses: dict[int, np.ndarray] = {}
        self._clusters: dict[int, np.ndarray] = {}

    def record(
        self, epoch: int, losses: np.ndarray, logits: np.ndarray, *, best: bool = False
    ) -> None:
        """Add one epoch.

        Args:
            epoch: From 0.
            losses: Of each head, [H].
            logits: Of every head for all items, [H, N, K].
            best: Whether a head of this epoch is the choice so far.
        """
        self._losses[epoch] = np.asarray(losses, np.float64)
        kind = np.min_scalar_type(logits.shape[2] - 1)
        affordable = self._max_bytes // (logits.shape[0] * logits.shape[1] * kind.itemsize)
        if not affordable:
            return
        stride = -(-self._total // affordable)
        if best:
            for former in [e for e in self._clusters if not self._is_kept(e, stride)]:
                del self._clusters[former]
        if best or self._is_kept(epoch, stride):
            self._clusters[epoch] = logits.argmax(axis=2).astype(kind)

    def _is_kept(self, epoch: int, stride: int) -> bool:
        return (self._total - 1 - epoch) % stride == 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the history as arrays.

        Returns:
            `losses` float64 [E, H] of the epochs `epochs` int32 [E]; `assignments` [A, H, N] of
            the epochs `kept` int32 [A], in the smallest unsigned type that holds a cluster.
            Nothing at all before the first epoch.
        """
        if not self._losses:
            return {}
        found = {
            "epochs": np.array(sorted(self._losses), np.int32),
            "losses": np.stack([self._losses[epoch] for epoch in sorted(self._losses)]),
            "kept": np.array(sorted(self._clusters), np.int32),
        }
        if self._clusters:
            clusters = [self._clusters[epoch] for epoch in sorted(self._clusters)]
            found["assignments"] = np.stack(clusters)
        return found

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take a history back from its arrays; one that was not saved stays empty."""
        if "losses" in arrays:
            epochs = arrays["epochs"].tolist()
            self._losses = dict(zip(epochs, arrays["losses"], strict=True))
        if "assignments" in arrays:
            kept = arrays["kept"].tolist()
            self._clusters = dict(zip(kept, arrays["assignments"], strict=True))


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

"""The choice of one head, by its loss over the whole set or another figure without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.heads.criteria import HeadScores
from spice_keras.heads.multi_head_model import MultiHeadModel
from spice_keras.scratch import give_back, row_blocks
from spice_keras.training.callbacks import CarriesState

HeadLosses = Callable[[np.ndarray], np.ndarray]
"""Logits of every head for the judged items [H, N, K] to the loss of each head [H]."""
FeaturesNow = Callable[[], np.ndarray]
"""The features of the un-augmented items as an encoder sees them now, float32 [N, D]."""

_HISTORY, _ENCODER = "history_", "encoder_"
MAX_BYTES = 2**25
ALL_ITEMS = np.empty(0, np.int64)
"""Stands for all items where rows of some are expected."""


def judged_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows of the items that heads are judged on.

    Args:
        array: One row an item. Shape: (num_items, dim).
        rows: Which items, int64 [R]; empty for all of them.

    Returns:
        Those rows; the array itself for all items.
    """
    return array[rows] if len(rows) else array


class HeadHistory:
    """Remembers what every head was judged by and what it said, for the evaluation.

    The losses of every epoch are kept. Clusters are kept for every epoch while they fit into
    `max_bytes`, for every second, third, ... one beyond, the last epoch always among them and the
    best one beside them, and for none if one epoch alone does not fit. No label is needed, and
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
        self,
        epoch: int,
        losses: np.ndarray,
        clusters: Callable[[], np.ndarray],
        shape: tuple[int, int, int],
        *,
        best: bool = False,
    ) -> None:
        """Add one epoch.

        Args:
            epoch: From 0.
            losses: Losses of each head, [H].
            clusters: Gives the clusters of every head for all items, [H, N]; called only for an
                epoch that is kept.
            shape: H, N and K.
            best: Whether a head of this epoch is the choice so far.
        """
        self._losses[epoch] = np.asarray(losses, np.float64)
        num_heads, num_items, num_clusters = shape
        kind = np.min_scalar_type(num_clusters - 1)
        affordable = self._max_bytes // (num_heads * num_items * kind.itemsize)
        if not affordable:
            return
        stride = -(-self._total // affordable)
        if best:
            for former in [e for e in self._clusters if not self._is_kept(e, stride)]:
                del self._clusters[former]
        if best or self._is_kept(epoch, stride):
            self._clusters[epoch] = clusters().astype(kind)

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


@dataclass(frozen=True)
class HeadChoice:
    """The head that was chosen, with all heads as they were then.

    Attributes:
        head: Its number; -1 before anything was judged.
        epoch: The epoch it was chosen at, from 0; -1 before.
        loss: Its loss over the whole set.
        weights: Weights of all heads, as `MultiHeadClassifier` orders them; empty before.
        encoder_weights: Weights of the encoder, if it changes along with the heads; else empty.
    """

    head: int = -1
    epoch: int = -1
    loss: float = np.inf
    weights: list[np.ndarray] = field(default_factory=list)
    encoder_weights: list[np.ndarray] = field(default_factory=list)


class HeadSelection(CarriesState):
    """Keeps the epoch and the head with the smallest loss over the whole set, or the best score.

    Scores are taken once, after the last epoch.

    The choice is `choice`. With an encoder that changes while the heads train, the set is encoded
    anew after each epoch, and the encoder of the chosen epoch is kept along with its heads.

    Args:
        features: Features of the un-augmented items, float32 [N, D], or what gives them now.
        losses: What each head is judged by.
        first_epoch: Epoch from which heads are judged, from 0. In the first ones a head can have
            a small loss on labels it has only just made.
        history: Is told of every judged epoch; None to remember none.
        every: Epochs from one judgement to the next; the last epoch is always judged.
        encoder: What changes along with the heads; None if nothing does.
        scores: What chooses among the heads of the last epoch; None to go by the loss.
        rows: Items whose logits `losses` is given, int64 [R]; empty for all of them.

    Attributes:
        choice: The best head so far.

    Example:
        >>> import numpy as np
        >>> from spice_keras import HeadSelection, SpiceSelf, head_losses, self_feature_views
        >>> features = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
        >>> unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        >>> selection = HeadSelection(features, lambda logits: head_losses(unit, logits, 0.5))
        >>> model = SpiceSelf(3, 8, num_heads=2)
        >>> model.compile("adam")
        >>> batches = self_feature_views(features, batch_size=30)
        >>> history = model.fit(batches, epochs=2, verbose=0, callbacks=[selection])
        >>> model.classifier.set_weights(selection.choice.weights)
        >>> model.classifier.head_model(selection.choice.head).predict(features, verbose=0).shape
        (60, 3)

    SPICE (arXiv 2103.09382) Sec. 3.2: the loss chooses, labels do not.
    """

    def __init__(
        self,
        features: np.ndarray | FeaturesNow,
        losses: HeadLosses,
        first_epoch: int = 0,
        *,
        history: HeadHistory | None = None,
        every: int = 1,
        encoder: keras.Model | None = None,
        scores: HeadScores | None = None,
        rows: np.ndarray = ALL_ITEMS,
    ) -> None:
        super().__init__()
        self._features, self._losses, self._encoder = features, losses, encoder
        self.first_epoch, self.history, self.every = first_epoch, history, every
        self._scores, self._rows = scores, rows
        self.choice = HeadChoice()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score every head and keep the best seen."""
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        features = self._features() if callable(self._features) else self._features
        judged = judged_rows(features, self._rows)
        give_back(features)  # what training read, before all heads answer
        logits = head_logits(self.model, judged)
        losses, shape = self._losses(logits), (len(logits), len(features), logits.shape[2])
        clusters = self._clusters_of(features, logits)
        del logits, judged
        head = self._best_head(epoch, losses, clusters)
        best = head is not None
        if head is not None:
            self.choice = HeadChoice(
                head,
                epoch,
                float(losses[head]),
                self.model.classifier.get_weights(),
                [] if self._encoder is None else self._encoder.get_weights(),
            )
        if self.history is not None:
            self.history.record(epoch, losses, clusters, shape, best=best)
        if logs is not None:
            logs["head_losses"] = [float(loss) for loss in losses]
            if self.choice.epoch >= 0:
                logs["selected_loss"] = self.choice.loss

    def _clusters_of(self, features: np.ndarray, logits: np.ndarray) -> Callable[[], np.ndarray]:
        """What gives the clusters of every head [H, N], found when they are first asked for."""
        if not len(self._rows):
            return cache(lambda: logits.argmax(axis=2))
        model = self.model
        return cache(lambda: head_clusters(model, features))

    def _best_head(
        self, epoch: int, losses: np.ndarray, clusters: Callable[[], np.ndarray]
    ) -> int | None:
        """The head that takes the place of the choice so far; None if none does."""
        # A head that diverged must not hide the others: argmin takes NaN for the smallest.
        if self._scores is None:
            head = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
            better = losses[head] < self.choice.loss and epoch >= self.first_epoch
            return head if better else None
        if epoch + 1 != self.params["epochs"] or np.isnan(losses).all():
            return None
        scores = self._scores(clusters(), losses)
        return int(np.argmax(np.where(np.isnan(losses) | np.isnan(scores), -np.inf, scores)))

    def state(self) -> dict[str, np.ndarray]:
        """Return the choice so far, and the history."""
        choice = self.choice
        past = {} if self.history is None else self.history.arrays()
        return {
            "chosen": np.array([choice.loss, choice.epoch, choice.head], np.float64),
            **{f"weight_{i}": weight for i, weight in enumerate(choice.weights)},
            **{f"{_ENCODER}{i}": weight for i, weight in enumerate(choice.encoder_weights)},
            **{f"{_HISTORY}{name}": array for name, array in past.items()},
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a choice back."""
        loss, epoch, head = state["chosen"]
        self.choice = HeadChoice(
            int(head),
            int(epoch),
            float(loss),
            _numbered(state, "weight_"),
            _numbered(state, _ENCODER),
        )
        if self.history is not None:
            past = {name: array for name, array in state.items() if name.startswith(_HISTORY)}
            self.history.restore({n.removeprefix(_HISTORY): array for n, array in past.items()})

    def past(self) -> dict[str, np.ndarray]:
        """Return what every head said after each epoch, and which of them was chosen."""
        arrays = {} if self.history is None else self.history.arrays()
        chosen = np.array([self.choice.epoch, self.choice.head], np.int32)
        scored = self._scores is not None
        first = max(self.choice.epoch, 0) if scored else self.first_epoch
        facts = {"first_judged": np.array(first, np.int32), "by_score": np.array(scored)}
        return {"chosen": chosen, **facts, **arrays}


def _numbered(state: Mapping[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    count = sum(name.startswith(prefix) for name in state)
    return [state[f"{prefix}{i}"] for i in range(count)]


_ROWS = 4096  # of one call of the heads


def head_logits(model: keras.Model, features: np.ndarray, block: int = _ROWS) -> np.ndarray:
    """Return the logits of every head, by blocks of rows.

    Args:
        model: Clustering heads, or one of the two models that train them.
        features: Features of the items, float32 [N, D].
        block: Rows a call.

    Returns:
        float32 [H, N, K].
    """
    logits: np.ndarray | None = None
    for rows, found in logit_blocks(model, features, block):
        if logits is None:
            logits = np.empty((found.shape[0], len(features), found.shape[2]), found.dtype)
        logits[:, rows] = found
    if logits is None:
        raise ValueError(f"Expected at least one row. Received: features.shape={features.shape}")
    return logits


def logit_blocks(
    model: keras.Model, features: np.ndarray, block: int = _ROWS
) -> Iterator[tuple[slice, np.ndarray]]:
    """Give the logits of every head a block of rows at a time.

    Those of all heads for all items are many times as large as the features.

    Args:
        model: As for `head_logits`.
        features: Features of the items, float32 [N, D], perhaps memory-mapped.
        block: Rows a call.

    Yields:
        Which rows, and their logits, float32 [H, rows, K].
    """
    heads = model.logits_by_head if isinstance(model, MultiHeadModel) else model
    for rows in row_blocks(features, block):
        yield rows, heads(tf.convert_to_tensor(features[rows])).numpy()


def head_clusters(model: keras.Model, features: np.ndarray) -> npt.NDArray[np.int32]:
    """Return the cluster that every head puts each item into.

    Args:
        model: As for `head_logits`.
        features: Features of the items, float32 [N, D], perhaps memory-mapped.

    Returns:
        int32 [H, N], in the memory of a block of logits.
    """
    parts = [logits.argmax(axis=2).astype(np.int32) for _, logits in logit_blocks(model, features)]
    return np.concatenate(parts, axis=1)

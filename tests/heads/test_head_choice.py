"""Head selection: the smallest loss over all epochs and heads, kept through a checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.heads.losses import head_losses
from spice_keras.heads.selection import (
    HeadHistory,
    HeadLosses,
    HeadSelection,
    head_logits,
)

_COUNT, _HEADS, _CLUSTERS = 30, 3, 3
_GROUPS = np.arange(_COUNT) % _CLUSTERS
_NORMALIZED = np.eye(_CLUSTERS, 4, dtype=np.float32)[_GROUPS]
_FEATURES = np.repeat(np.arange(_COUNT, dtype=np.float32)[:, None], 4, axis=1)


class _Classifier:
    def __init__(self) -> None:
        self.weights = [np.zeros(2), np.zeros(1)]

    def get_weights(self) -> list[np.ndarray]:
        return [weight.copy() for weight in self.weights]


class _Model:
    """Stands for either objective's model: logits of every head for the rows it is shown."""

    def __init__(self) -> None:
        self.classifier = _Classifier()
        self.logits = np.zeros((_HEADS, _COUNT, _CLUSTERS), np.float32)
        self.blocks: list[int] = []

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        rows = features[:, 0].numpy().astype(int)
        self.blocks.append(len(rows))
        return tf.constant(self.logits[:, rows])


def _epoch(model: _Model, callback: HeadSelection, epoch: int, certainty: list[float]) -> Any:
    """End an epoch at which each head separates the groups with some certainty."""
    model.logits = np.stack([c * np.eye(_CLUSTERS)[_GROUPS] for c in certainty]).astype(np.float32)
    model.classifier.weights = [np.full(2, float(epoch)), np.full(1, 10.0 * epoch)]
    logs: dict[str, Any] = {"loss": 1.0}
    callback.on_epoch_end(epoch, logs)
    return logs


@pytest.fixture
def model() -> _Model:
    return _Model()


def _losses(logits: np.ndarray) -> np.ndarray:
    return head_losses(_NORMALIZED, logits, 0.5)


def _selection(model: _Model, losses: HeadLosses = _losses, first_epoch: int = 0) -> HeadSelection:
    callback = HeadSelection(_FEATURES, losses, first_epoch)
    callback.set_model(model)
    return callback


def test_the_smallest_loss_of_all_epochs_and_heads_is_kept(model: _Model) -> None:
    callback = _selection(model)
    first = _epoch(model, callback, 0, [1.0, 2.0, 0.5])
    assert (callback.choice.epoch, callback.choice.head) == (0, 1)
    second = _epoch(model, callback, 1, [0.5, 1.0, 5.0])
    assert (callback.choice.epoch, callback.choice.head) == (1, 2)
    third = _epoch(model, callback, 2, [3.0, 4.0, 1.0])
    assert (callback.choice.epoch, callback.choice.head) == (1, 2)
    assert callback.choice.weights[0].tolist() == [1.0, 1.0]
    assert callback.choice.weights[1].tolist() == [10.0]
    assert callback.choice.loss == min(first["head_losses"] + second["head_losses"])
    assert third["selected_loss"] == callback.choice.loss < min(third["head_losses"])


def test_equal_losses_keep_the_earlier_epoch_and_the_first_head(model: _Model) -> None:
    callback = _selection(model)
    for epoch in range(3):
        _epoch(model, callback, epoch, [2.0, 2.0, 2.0])
    assert (callback.choice.epoch, callback.choice.head) == (0, 0)


def test_the_losses_logged_are_those_of_the_whole_set(model: _Model) -> None:
    callback = _selection(model)
    logs = _epoch(model, callback, 0, [1.0, 2.0, 0.5])
    assert logs["head_losses"] == _losses(model.logits).tolist()
    assert all(type(loss) is float for loss in logs["head_losses"])


def test_the_choice_survives_a_checkpoint(model: _Model) -> None:
    callback = _selection(model)
    _epoch(model, callback, 0, [1.0, 4.0, 0.5])
    restored = _selection(model)
    restored.restore(callback.state())
    choice = restored.choice
    assert (choice.loss, choice.epoch, choice.head) == (callback.choice.loss, 0, 1)
    for old, new in zip(callback.choice.weights, restored.choice.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    _epoch(model, restored, 1, [1.0, 3.0, 0.5])
    assert restored.choice.epoch == 0
    _epoch(model, restored, 2, [9.0, 3.0, 0.5])
    assert (restored.choice.epoch, restored.choice.head) == (2, 0)


def test_the_history_holds_every_epoch_and_survives_a_checkpoint(model: _Model) -> None:
    def selection() -> HeadSelection:
        callback = HeadSelection(_FEATURES, _losses, first_epoch=1, history=HeadHistory(2))
        callback.set_model(model)
        return callback

    first, second = selection(), selection()
    before = _epoch(model, first, 0, [1.0, 4.0, 0.5])
    second.restore(first.state())
    assert (second.choice.epoch, second.choice.weights) == (-1, [])
    after = _epoch(model, second, 1, [1.0, 3.0, 0.5])
    assert second.history is not None
    arrays = second.history.arrays()
    losses = [before["head_losses"], after["head_losses"]]
    np.testing.assert_array_equal(arrays["losses"], losses)
    assert arrays["assignments"].shape == (2, _HEADS, _COUNT)
    assert len(second.choice.weights) == len(model.classifier.weights)


def test_logits_come_by_blocks(model: _Model) -> None:
    model.logits = np.random.default_rng(0).normal(size=model.logits.shape).astype(np.float32)
    logits = head_logits(model, _FEATURES, block=8)  # type: ignore[arg-type]
    np.testing.assert_array_equal(logits, model.logits)
    assert model.blocks == [8, 8, 8, 6]


def test_heads_are_not_judged_before_the_first_epoch(model: _Model) -> None:
    callback = _selection(model, first_epoch=2)
    for epoch, best in enumerate([9.0, 8.0]):
        logs = _epoch(model, callback, epoch, [1.0, best, 1.0])
        assert (callback.choice.epoch, callback.choice.head, callback.choice.weights) == (
            -1,
            -1,
            [],
        )
        assert len(logs["head_losses"]) == _HEADS
        assert "selected_loss" not in logs
    logs = _epoch(model, callback, 2, [1.0, 1.0, 3.0])
    assert (callback.choice.epoch, callback.choice.head) == (2, 2)
    assert logs["selected_loss"] == callback.choice.loss


def test_a_head_that_diverged_does_not_hide_the_others(model: _Model) -> None:
    found = iter([[np.nan, 3.0, 2.0], [np.nan, np.nan, 1.0], [np.nan] * 3])
    callback = _selection(model, lambda logits: np.array(next(found)))
    for epoch, expected in enumerate([(0, 2), (1, 2), (1, 2)]):
        _epoch(model, callback, epoch, [1.0, 1.0, 1.0])
        assert (callback.choice.epoch, callback.choice.head) == expected
    assert callback.choice.loss == 1.0


def test_nothing_is_chosen_where_no_loss_is_finite(model: _Model) -> None:
    callback = _selection(model, lambda logits: np.array([np.nan, np.inf, np.nan]))
    logs = _epoch(model, callback, 0, [1.0, 1.0, 1.0])
    assert (callback.choice.head, callback.choice.weights) == (-1, [])
    assert "selected_loss" not in logs


def test_judges_every_few_epochs_and_the_last(model: _Model) -> None:
    callback = HeadSelection(_FEATURES, _losses, every=2)
    callback.set_model(model)  # type: ignore[arg-type]
    callback.set_params({"epochs": 5})
    judged = []
    for epoch in range(5):
        if "head_losses" in _epoch(model, callback, epoch, [1.0 + epoch] * _HEADS):
            judged.append(epoch)
    assert judged == [1, 3, 4]
    assert callback.choice.epoch == 4

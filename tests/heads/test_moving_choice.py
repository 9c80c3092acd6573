"""The choice of a head where the encoder changes under it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.selection import MovingHeadSelection

_FEATURES = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.fixture
def encoder() -> keras.Model:
    """A scale: its one weight shows which epoch it is of."""
    return keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )


class _Model(keras.Model):
    """What a choice sees of SPICE-Self."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = MultiHeadClassifier(2, 3)
        self.classifier.build((None, 2))

    def call(self, features: np.ndarray) -> np.ndarray:
        return self.classifier(features)


def _choice(encoder: keras.Model, seen: list[float]) -> MovingHeadSelection:
    def encode() -> np.ndarray:
        seen.append(float(encoder.get_weights()[0][0, 0]))
        return _FEATURES + seen[-1]

    losses = iter([[3.0, 2.0], [1.5, 1.0], [4.0, 4.0]])
    choice = MovingHeadSelection(encode, encoder, lambda logits: np.array(next(losses)))
    choice.set_model(_Model())
    return choice


def test_it_encodes_after_each_epoch_and_puts_the_chosen_encoder_back(
    encoder: keras.Model,
) -> None:
    seen: list[float] = []
    choice = _choice(encoder, seen)
    for epoch in range(3):
        encoder.set_weights([np.full((1, 1), 10.0 + epoch)])
        choice.on_epoch_end(epoch, {})
    assert seen == [10.0, 11.0, 12.0]
    assert (choice.epoch, choice.head, choice.loss) == (1, 1, 1.0)
    choice.put_back()
    assert float(encoder.get_weights()[0][0, 0]) == 11.0


def test_the_chosen_encoder_survives_a_checkpoint(encoder: keras.Model) -> None:
    choice = _choice(encoder, [])
    encoder.set_weights([np.full((1, 1), 7.0)])
    choice.on_epoch_end(0, {})
    state = choice.state()
    other = _choice(encoder, [])
    other.restore(state)
    encoder.set_weights([np.full((1, 1), 9.0)])
    other.put_back()
    assert float(encoder.get_weights()[0][0, 0]) == 7.0
    assert (other.epoch, other.head, other.loss) == (0, 1, 2.0)
    assert len(other.weights) == len(choice.weights) == 4

"""The choice of a head where the encoder changes under it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.selection import HeadSelection

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


def _choice(encoder: keras.Model, seen: list[float]) -> HeadSelection:
    def encode() -> np.ndarray:
        seen.append(float(encoder.get_weights()[0][0, 0]))
        return _FEATURES + seen[-1]

    losses = iter([[3.0, 2.0], [1.5, 1.0], [4.0, 4.0]])
    choice = HeadSelection(encode, lambda logits: np.array(next(losses)), encoder=encoder)
    choice.set_model(_Model())
    return choice


def test_it_encodes_after_each_epoch_and_keeps_the_chosen_encoder(
    encoder: keras.Model,
) -> None:
    seen: list[float] = []
    choice = _choice(encoder, seen)
    for epoch in range(3):
        encoder.set_weights([np.full((1, 1), 10.0 + epoch)])
        choice.on_epoch_end(epoch, {})
    assert seen == [10.0, 11.0, 12.0]
    assert (choice.choice.epoch, choice.choice.head, choice.choice.loss) == (1, 1, 1.0)
    assert [float(w[0, 0]) for w in choice.choice.encoder_weights] == [11.0]


def test_the_chosen_encoder_survives_a_checkpoint(encoder: keras.Model) -> None:
    choice = _choice(encoder, [])
    encoder.set_weights([np.full((1, 1), 7.0)])
    choice.on_epoch_end(0, {})
    state = choice.state()
    other = _choice(encoder, [])
    other.restore(state)
    assert [float(w[0, 0]) for w in other.choice.encoder_weights] == [7.0]
    assert (other.choice.epoch, other.choice.head, other.choice.loss) == (0, 1, 2.0)
    assert len(other.choice.weights) == len(choice.choice.weights) == 4

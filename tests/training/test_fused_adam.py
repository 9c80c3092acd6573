"""Adam on the fused kernel takes the steps of Keras's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.training.fused_adam import FusedAdam


def _trained(optimizer: keras.optimizers.Optimizer, start: np.ndarray) -> list[np.ndarray]:
    variable = keras.Variable(start)
    optimizer.build([variable])

    @tf.function
    def step(seed: tf.Tensor) -> None:
        noise = tf.random.stateless_normal(variable.shape, tf.stack([0, seed]))
        optimizer.apply([noise + variable.value], [variable])

    for seed in range(30):
        step(tf.constant(seed))
    return [value.numpy() for value in (variable, *optimizer.variables)]


def test_equals_keras_over_many_steps() -> None:
    start = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    theirs = _trained(keras.optimizers.Adam(0.01, epsilon=1e-8), start)
    ours = _trained(FusedAdam(0.01, epsilon=1e-8), start)
    for value, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(ours[0] - start).max() > 0.1


def test_survives_saving() -> None:
    kept = keras.saving.serialize_keras_object(FusedAdam(0.01, epsilon=1e-8))
    again = keras.saving.deserialize_keras_object(kept)
    assert isinstance(again, FusedAdam)
    assert (float(again.learning_rate), again.epsilon) == (pytest.approx(0.01), 1e-8)

"""The fused kernels take the steps of Keras's optimizers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.training.optimizers import FusedAdam, FusedSGD


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


@pytest.mark.parametrize(
    ("fused", "plain", "options"),
    [
        (FusedAdam, keras.optimizers.Adam, {"epsilon": 1e-8}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
        (FusedSGD, keras.optimizers.SGD, {}),
    ],
)
def test_equals_keras_over_many_steps(
    fused: type[keras.optimizers.Optimizer],
    plain: type[keras.optimizers.Optimizer],
    options: dict[str, object],
) -> None:
    start = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 40)
    theirs, ours = (_trained(kind(schedule, **options), start) for kind in (plain, fused))
    for value, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(ours[0] - start).max() > 0.1


@pytest.mark.parametrize(
    ("fused", "options"),
    [(FusedAdam, {"epsilon": 1e-8}), (FusedSGD, {"momentum": 0.9, "nesterov": True})],
)
def test_survives_saving(
    fused: type[keras.optimizers.Optimizer], options: dict[str, object]
) -> None:
    kept = keras.saving.serialize_keras_object(fused(0.01, **options))
    again = keras.saving.deserialize_keras_object(kept)
    assert type(again) is fused
    assert float(again.learning_rate) == pytest.approx(0.01)
    assert {name: getattr(again, name) for name in options} == options

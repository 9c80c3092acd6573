"""The base of the three models: L2 decay in the gradient, replicas refused, no frozen encoder."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.models.partly_trained import PartlyTrainedModel, copy_of, refuse_frozen
from tests.models.synthetic import encoder, images

_REPLICAS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.models.synthetic import make_self
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    try:
        make_self()
    except ValueError as error:
        print(error)
"""


class _Quadratic(PartlyTrainedModel):
    """Loss x^2 / 2 of one trained kernel; a second kernel is left alone."""

    def __init__(self) -> None:
        super().__init__(("loss",), seed=0)
        self.kernel = self.add_weight(name="kernel", shape=(2,), initializer="ones")
        self.other = self.add_weight(name="other", shape=(2,), initializer="ones")
        self.built = True

    def trained_variables(self) -> list[keras.Variable]:
        return [self.kernel]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(self.kernel.value)) / 2.0
            scaled_loss = self.optimizer.scale_loss(loss)
        self._descend(tape, scaled_loss, 0.25, [self.kernel])
        return self._report(loss=loss)


@pytest.mark.parametrize("scaled", [False, True])
def test_decay_is_part_of_the_gradient(scaled: bool) -> None:
    """Momentum carries the decay: with w' = w - lr * v, v' = 0.9 v + 1.25 w."""
    model = _Quadratic()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model.compile(optimizer=optimizer, jit_compile=False)
    data = tf.data.Dataset.from_tensors({"x": 0.0}).repeat(3)
    model.fit(data, shuffle=False, verbose=0)
    weight, velocity = 1.0, 0.0
    for _ in range(3):
        velocity = 0.9 * velocity + 1.25 * weight
        weight -= 0.1 * velocity
    np.testing.assert_allclose(model.kernel, [weight, weight], rtol=1e-5)
    np.testing.assert_array_equal(model.other, [1.0, 1.0])


def test_copy_starts_equal_and_shares_nothing() -> None:
    original = encoder()
    copy = copy_of(original)
    batch = images(2)
    np.testing.assert_array_equal(copy(batch), original(batch))
    assert not {id(v) for v in copy.variables} & {id(v) for v in original.variables}
    before = copy(batch)
    original.set_weights([2.0 * weight for weight in original.get_weights()])
    np.testing.assert_array_equal(copy(batch), before)


def test_refuses_a_frozen_encoder() -> None:
    frozen = encoder()
    frozen.trainable = False
    with pytest.raises(ValueError, match="frozen"):
        refuse_frozen(frozen)


@pytest.mark.integration
def test_refuses_several_replicas() -> None:
    output = subprocess.run(
        [sys.executable, "-c", _REPLICAS], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "SpiceSelf trains on one replica" in output
    assert output.count("num_replicas_in_sync=2") == 1

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.momentum import momentum_average, update_momentum_variables

finite = st.floats(-1e6, 1e6, width=32)


@given(average=finite, value=finite, momentum=st.floats(0, 1))
def test_is_the_weighted_sum(average: float, value: float, momentum: float) -> None:
    actual = float(momentum_average(tf.constant(average), tf.constant(value), momentum))
    expected = momentum * average + (1 - momentum) * value
    tolerance = 1e-5 * max(abs(average), abs(value), 1.0)
    assert actual == pytest.approx(expected, abs=tolerance)
    assert min(average, value) - tolerance <= actual <= max(average, value) + tolerance


@given(average=finite, value=finite)
def test_momentum_0_and_1_are_exact(average: float, value: float) -> None:
    assert float(momentum_average(tf.constant(average), tf.constant(value), 0)) == value
    assert float(momentum_average(tf.constant(average), tf.constant(value), 1)) == average


def test_repeated_steps_follow_the_closed_form() -> None:
    average = tf.constant(1.0)
    for _ in range(20):
        average = momentum_average(average, tf.constant(3.0), 0.9)
    assert float(average) == pytest.approx(3.0 - 2.0 * 0.9**20, rel=1e-5)


def test_momentum_may_be_a_tensor() -> None:
    average = momentum_average(tf.constant(0.0), tf.constant(1.0), tf.constant(0.75))
    assert float(average) == 0.25


@pytest.mark.parametrize("make", [keras.Variable, tf.Variable])
def test_updates_variables_in_place_and_leaves_the_values_alone(make: type) -> None:
    averages = [make(np.zeros((2, 3), np.float32)), make(np.ones(4, np.float32))]
    values = [make(np.full((2, 3), 2.0, np.float32)), make(np.full(4, 5.0, np.float32))]
    update_momentum_variables(averages, values, 0.75)
    np.testing.assert_allclose(averages[0].numpy(), 0.5)
    np.testing.assert_allclose(averages[1].numpy(), 2.0)
    np.testing.assert_array_equal(values[0].numpy(), np.full((2, 3), 2.0))


def test_updates_inside_a_compiled_step() -> None:
    average, value = keras.Variable([0.0, 8.0]), keras.Variable([4.0, 0.0])

    @tf.function
    def step() -> None:
        update_momentum_variables([average], [value], 0.5)

    step()
    step()
    np.testing.assert_allclose(average.numpy(), [3.0, 2.0])


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_refuses_a_momentum_out_of_range(momentum: float) -> None:
    with pytest.raises(ValueError, match=f"Received: momentum={momentum}"):
        momentum_average(tf.constant(0.0), tf.constant(1.0), momentum)


def test_refuses_networks_that_do_not_pair_up() -> None:
    one, two = tf.Variable(tf.zeros(3)), tf.Variable(tf.zeros(4))
    with pytest.raises(ValueError, match=r"len\(averages\)=1, len\(values\)=2"):
        update_momentum_variables([one], [one, two], 0.9)
    with pytest.raises(ValueError, match=r"Received: \(3,\) and \(4,\)"):
        update_momentum_variables([one], [two], 0.9)

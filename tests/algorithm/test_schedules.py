from __future__ import annotations

import math
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.schedules import FixMatchCosine, MoCoCosine


@given(epochs=st.integers(1, 6), steps=st.integers(1, 5), rate=st.sampled_from([0.015, 0.06, 1.0]))
def test_moco_is_constant_in_an_epoch_and_half_a_cosine_over_them(
    epochs: int, steps: int, rate: float
) -> None:
    schedule = MoCoCosine(rate, epochs, steps)
    for epoch in range(epochs):
        expected = rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        for step in range(epoch * steps, (epoch + 1) * steps):
            assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_moco_ends_at_0_and_stays_there() -> None:
    schedule = MoCoCosine(0.06, epochs=10, steps_per_epoch=7)
    assert float(schedule(0)) == pytest.approx(0.06)
    assert float(schedule(5 * 7)) == pytest.approx(0.03)
    assert float(schedule(10 * 7)) == pytest.approx(0.0, abs=1e-8)
    assert float(schedule(1000)) == pytest.approx(0.0, abs=1e-8)


def test_moco_does_not_change_epoch_early_in_a_very_long_run() -> None:
    schedule = MoCoCosine(1.0, epochs=1000, steps_per_epoch=49_999)
    last_of_epoch = 900 * 49_999 - 1
    assert float(schedule(last_of_epoch)) == float(schedule(899 * 49_999))
    assert float(schedule(last_of_epoch + 1)) < float(schedule(last_of_epoch))


@given(total=st.integers(1, 50))
def test_fixmatch_follows_seven_sixteenths(total: int) -> None:
    schedule = FixMatchCosine(0.03, total)
    for step in range(total + 1):
        expected = 0.03 * math.cos(7 * math.pi * step / (16 * total))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_fixmatch_ends_above_0_and_stays_there() -> None:
    schedule = FixMatchCosine(0.03, total_steps=2**20)
    assert float(schedule(0)) == pytest.approx(0.03)
    assert float(schedule(2**20)) == pytest.approx(0.195090 * 0.03, rel=1e-5)
    assert float(schedule(2**21)) == float(schedule(2**20))


SCHEDULES = [MoCoCosine(0.06, epochs=3, steps_per_epoch=2), FixMatchCosine(0.03, total_steps=6)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
def test_never_rises_and_survives_serialization(
    schedule: keras.optimizers.schedules.LearningRateSchedule,
) -> None:
    rates = [float(schedule(step)) for step in range(8)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    stored = keras.optimizers.schedules.serialize(schedule)
    restored = keras.optimizers.schedules.deserialize(stored)
    assert type(restored) is type(schedule)
    assert restored.get_config() == schedule.get_config()
    assert [float(restored(step)) for step in range(8)] == rates


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
def test_drives_an_optimizer_in_a_compiled_step(
    schedule: keras.optimizers.schedules.LearningRateSchedule,
) -> None:
    weight = keras.Variable(0.0)
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.build([weight])

    @tf.function
    def step() -> None:
        optimizer.apply([tf.constant(-1.0)], [weight])

    for _ in range(5):
        step()
    np.testing.assert_allclose(weight, sum(float(schedule(k)) for k in range(5)), rtol=1e-5)


def test_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="Received: learning_rate=-1"):
        MoCoCosine(-1, 1, 1)
    with pytest.raises(ValueError, match="Received: epochs=0, steps_per_epoch=1"):
        MoCoCosine(1.0, 0, 1)
    with pytest.raises(ValueError, match="Received: total_steps=0"):
        FixMatchCosine(1.0, 0)

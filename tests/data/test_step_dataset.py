from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.data.step_dataset import Batch, mapped, step_dataset


def numbered(step: tf.Tensor) -> Batch:
    return {"step": step, "square": step * step}


def steps(data: tf.data.Dataset) -> list[int]:
    return [int(batch["step"]) for batch in data]


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 40), (5, 5)])
def test_a_batch_a_step_from_the_first_to_before_the_last(start: int, stop: int) -> None:
    data = step_dataset(numbered, start, stop)
    assert int(data.cardinality()) == stop - start
    assert steps(data) == list(range(start, stop))


def test_without_a_last_step_it_never_ends() -> None:
    data = step_dataset(numbered, 2**33, None)
    assert data.cardinality() == tf.data.INFINITE_CARDINALITY
    found = list(data.take(3).as_numpy_iterator())
    assert [batch["step"] for batch in found] == [2**33, 2**33 + 1, 2**33 + 2]
    assert found[0]["step"].dtype == np.int64


def test_batches_keep_their_order_though_later_ones_are_ready_first() -> None:
    def slow_when_even(step: tf.Tensor) -> Batch:
        def wait(number: np.ndarray) -> np.ndarray:
            time.sleep(0.03 if number % 2 == 0 else 0.0)
            return number

        return {"step": tf.numpy_function(wait, [step], tf.int64)}

    assert steps(step_dataset(slow_when_even, 0, 16)) == list(range(16))


def test_autotuning_is_off() -> None:
    """Its thread can hold up the end of a fit by a minute."""
    options = mapped(tf.data.Dataset.range(3), numbered).options()
    assert options.autotune.enabled is False
    assert options.deterministic is True

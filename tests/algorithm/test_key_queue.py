from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.key_queue import enqueue, initial_queue
from tests.reference import key_queue as reference


@given(size=st.integers(1, 8), batch_sizes=st.lists(st.integers(0, 11), max_size=5))
def test_holds_the_last_keys_whatever_the_batch_sizes(size: int, batch_sizes: list[int]) -> None:
    initial = -np.arange(1, size + 1, dtype=np.float32)[:, np.newaxis]
    numbers = iter(range(100))
    batches = [
        np.array([[next(numbers)] for _ in range(batch)], np.float32).reshape(batch, 1)
        for batch in batch_sizes
    ]
    queue = tf.constant(initial)
    for batch in batches:
        queue = enqueue(queue, batch)
    np.testing.assert_array_equal(queue, reference.queue_after(initial, batches))


def test_newest_batch_is_in_front_and_in_order() -> None:
    queue = tf.constant([[1.0], [2.0], [3.0], [4.0]])
    updated = enqueue(queue, tf.constant([[8.0], [9.0]]))
    np.testing.assert_array_equal(updated[:, 0], [8.0, 9.0, 1.0, 2.0])


def test_keeps_shape_and_dtype_in_a_graph_of_unknown_batch_size() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.bfloat16)])
    def step(keys: tf.Tensor) -> tf.Tensor:
        updated = enqueue(tf.zeros([4, 3]), keys)
        assert updated.shape == (4, 3)
        return updated

    updated = step(tf.ones([2, 3], tf.bfloat16))
    assert updated.dtype == tf.float32
    np.testing.assert_array_equal(updated[:, 0], [1, 1, 0, 0])


def test_no_gradient_through_the_queue() -> None:
    keys = tf.ones([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(keys)
        total = tf.reduce_sum(enqueue(tf.zeros([4, 3]), keys))
    assert tape.gradient(total, keys) is None


def test_initial_queue_is_random_unit_rows() -> None:
    queue = initial_queue(500, 16, seed=3).numpy()
    np.testing.assert_allclose(np.linalg.norm(queue, axis=1), 1.0, rtol=1e-5)
    # Directions are spread: the mean of 500 random unit vectors is about 1 / sqrt(500) long.
    assert np.linalg.norm(queue.mean(axis=0)) < 0.1


def test_initial_queue_depends_on_the_seed_alone() -> None:
    np.testing.assert_array_equal(initial_queue(4, 3, seed=5), initial_queue(4, 3, seed=5))
    assert np.any(initial_queue(4, 3, seed=5) != initial_queue(4, 3, seed=6))


@pytest.mark.parametrize(("size", "dim"), [(0, 3), (3, 0)])
def test_refuses_an_empty_queue(size: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"Received: size={size}, dim={dim}"):
        initial_queue(size, dim, seed=0)

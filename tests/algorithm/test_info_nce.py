from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.info_nce import info_nce, info_nce_logits, random_guess_loss
from tests.algorithm.arrays import unit_rows
from tests.reference import info_nce as reference


@given(
    batch=st.integers(1, 5),
    queue_size=st.integers(1, 9),
    temperature=st.sampled_from([0.07, 0.2, 1.0]),
    seed=st.integers(0, 999),
)
def test_equals_the_papers_sum(batch: int, queue_size: int, temperature: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    queries, keys = unit_rows(generator, 2, batch, 4)
    queue = unit_rows(generator, queue_size, 4)
    actual = info_nce(queries, keys, queue, temperature)
    expected = reference.info_nce(queries, keys, queue, temperature)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


def test_positive_is_in_column_0() -> None:
    generator = np.random.default_rng(0)
    queries, keys = unit_rows(generator, 2, 3, 4)
    queue = unit_rows(generator, 5, 4)
    logits = info_nce_logits(queries, keys, queue, 0.5).numpy()
    assert logits.shape == (3, 6)
    np.testing.assert_allclose(logits[:, 0], np.sum(queries * keys, axis=1) / 0.5, rtol=1e-5)
    np.testing.assert_allclose(logits[:, 1:], queries @ queue.T / 0.5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("queue_size", [1, 64, 4096])
def test_equal_candidates_are_a_random_guess(queue_size: int) -> None:
    point = np.full((2, 4), 0.5, np.float32)
    queue = np.full((queue_size, 4), 0.5, np.float32)
    actual = info_nce(point, point, queue, 0.2)
    np.testing.assert_allclose(actual, math.log(queue_size + 1), rtol=1e-6)
    assert random_guess_loss(queue_size) == pytest.approx(math.log(queue_size + 1), rel=1e-12)


@pytest.mark.parametrize(
    ("queue_size", "expected"), [(65536, 11.09), (12800, 9.457), (4096, 8.318)]
)
def test_known_random_guess_losses(queue_size: int, expected: float) -> None:
    assert random_guess_loss(queue_size) == pytest.approx(expected, abs=5e-3)


def test_perfect_key_among_opposite_negatives_costs_nothing() -> None:
    query = np.array([[1.0, 0.0]], np.float32)
    loss = info_nce(query, query, -np.repeat(query, 8, axis=0), 0.07)
    assert 0 <= float(loss[0]) < 1e-6


def test_only_queries_receive_a_gradient() -> None:
    queries, keys, queue = (
        tf.constant(rows) for rows in unit_rows(np.random.default_rng(1), 3, 4, 5)
    )
    with tf.GradientTape() as tape:
        tape.watch([queries, keys, queue])
        loss = tf.reduce_mean(info_nce(queries, keys, queue, 0.2))
    to_queries, to_keys, to_queue = tape.gradient(loss, [queries, keys, queue])
    assert float(tf.reduce_max(tf.abs(to_queries))) > 0
    assert to_keys is None
    assert to_queue is None


def test_order_of_the_queue_does_not_matter() -> None:
    generator = np.random.default_rng(2)
    queries, keys = unit_rows(generator, 2, 3, 4)
    queue = unit_rows(generator, 7, 4)
    shuffled = queue[generator.permutation(7)]
    np.testing.assert_allclose(
        info_nce(queries, keys, queue, 0.2), info_nce(queries, keys, shuffled, 0.2), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_computes_in_float32_whatever_comes_in(dtype: tf.DType) -> None:
    rows = tf.cast(unit_rows(np.random.default_rng(3), 4, 8), dtype)
    queue = tf.cast(unit_rows(np.random.default_rng(4), 300, 8), tf.float32)
    actual = info_nce(rows, rows, queue, 0.07)
    wide = tf.cast(rows, tf.float32)
    assert actual.dtype == tf.float32
    np.testing.assert_array_equal(actual, info_nce(wide, wide, queue, 0.07))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    rows = unit_rows(np.random.default_rng(0), 2, 3)
    with pytest.raises(ValueError, match=f"Received: temperature={temperature}"):
        info_nce(rows, rows, rows, temperature)


def test_refuses_a_negative_queue_size() -> None:
    with pytest.raises(ValueError, match="Received: queue_size=-1"):
        random_guess_loss(-1)

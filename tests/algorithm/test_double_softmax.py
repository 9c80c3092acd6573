from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.double_softmax import double_softmax_cross_entropy, double_softmax_floor
from tests.algorithm.arrays import normal
from tests.reference import double_softmax as reference

scales = st.sampled_from([0.01, 1.0, 30.0, 1000.0])


@given(num_clusters=st.integers(1, 12), scale=scales, seed=st.integers(0, 999))
def test_equals_eq_4_and_stays_in_its_band(num_clusters: int, scale: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = normal(generator, 6, num_clusters, scale=scale)
    labels = generator.integers(0, num_clusters, 6)
    losses = double_softmax_cross_entropy(labels, logits).numpy()
    np.testing.assert_allclose(
        losses, reference.double_softmax_cross_entropy(labels, logits), rtol=1e-5, atol=1e-6
    )
    floor = double_softmax_floor(num_clusters)
    assert losses.min() >= floor - 1e-5
    assert losses.max() <= floor + 1.0 + 1e-5


@pytest.mark.parametrize(
    ("num_clusters", "floor", "worst"),
    [
        (10, 1.46115, 2.46115),
        (15, 1.81650, 2.81650),
        (20, 2.07815, 3.07815),
        (200, 4.30687, 5.30687),
    ],
)
def test_known_values(num_clusters: int, floor: float, worst: float) -> None:
    one_hot = np.zeros((1, num_clusters), np.float32)
    one_hot[0, 3] = 200.0
    uniform = np.zeros((1, num_clusters), np.float32)
    assert double_softmax_floor(num_clusters) == pytest.approx(floor, abs=6e-6)
    assert float(double_softmax_cross_entropy([3], one_hot)[0]) == pytest.approx(floor, abs=1e-5)
    assert float(double_softmax_cross_entropy([0], one_hot)[0]) == pytest.approx(worst, abs=1e-5)
    at_start = float(double_softmax_cross_entropy([7], uniform)[0])
    assert at_start == pytest.approx(math.log(num_clusters), abs=1e-5)


def test_any_leading_dimensions() -> None:
    generator = np.random.default_rng(0)
    logits = normal(generator, 2, 3, 4, 5)
    labels = generator.integers(0, 5, (2, 3, 4))
    losses = double_softmax_cross_entropy(labels, logits)
    assert losses.shape == (2, 3, 4)
    flat = double_softmax_cross_entropy(labels.reshape(-1), logits.reshape(-1, 5))
    np.testing.assert_array_equal(tf.reshape(losses, [-1]), flat)


def test_gradient_reaches_the_logits_and_vanishes_at_a_sure_answer() -> None:
    logits = tf.constant([[0.0, 0.0, 0.0], [80.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(double_softmax_cross_entropy([0, 1], logits))
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    # At p uniform over 3: d loss / d z = J (p' - y) with J = diag(p) - p p^T.
    np.testing.assert_allclose(gradient[0], [-2 / 9, 1 / 9, 1 / 9], atol=1e-6)
    # A sure but wrong answer is given up as noise: this is the point of the second softmax.
    np.testing.assert_allclose(gradient[1], 0.0, atol=1e-6)


def test_half_precision_logits_are_scored_in_float32() -> None:
    logits = tf.cast(normal(np.random.default_rng(1), 4, 10), tf.bfloat16)
    losses = double_softmax_cross_entropy([0, 1, 2, 3], logits)
    assert losses.dtype == tf.float32
    wide = double_softmax_cross_entropy([0, 1, 2, 3], tf.cast(logits, tf.float32))
    np.testing.assert_array_equal(losses, wide)


def test_refuses_no_cluster() -> None:
    with pytest.raises(ValueError, match="Received: num_clusters=0"):
        double_softmax_floor(0)

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.algorithm.neighbor_consistency import mean_entropy, neighbor_consistency
from tests.algorithm.arrays import normal
from tests.reference import neighbor_consistency as reference

sizes = st.tuples(st.integers(1, 7), st.integers(1, 9), st.sampled_from([0.1, 1.0, 10.0, 40.0]))


@settings(max_examples=25)
@given(sizes=sizes, seed=st.integers(0, 999))
def test_equals_scans_eq_2(sizes: tuple[int, int, float], seed: int) -> None:
    batch, clusters, scale = sizes
    generator = np.random.default_rng(seed)
    ours, theirs = (normal(generator, batch, clusters, scale=scale) for _ in range(2))
    losses = neighbor_consistency(tf.nn.log_softmax(ours), tf.nn.log_softmax(theirs))
    assert losses.shape == (batch,)
    np.testing.assert_allclose(
        losses, reference.neighbor_consistency(ours, theirs), rtol=1e-4, atol=1e-5
    )
    assert float(tf.reduce_min(losses)) >= -1e-5
    entropy = float(mean_entropy(tf.nn.log_softmax(ours)))
    assert entropy == pytest.approx(reference.mean_entropy(ours), rel=1e-4, abs=1e-5)
    assert -1e-5 <= entropy <= math.log(clusters) + 1e-5


@settings(max_examples=10)
@given(seed=st.integers(0, 999))
def test_neither_the_order_of_clusters_nor_of_the_pair_matters(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ours, theirs = (tf.nn.log_softmax(normal(generator, 5, 4)).numpy() for _ in range(2))
    order = generator.permutation(4)
    losses = neighbor_consistency(ours, theirs)
    np.testing.assert_allclose(neighbor_consistency(theirs, ours), losses, rtol=1e-6)
    permuted = neighbor_consistency(ours[:, order], theirs[:, order])
    np.testing.assert_allclose(permuted, losses, rtol=1e-5)
    np.testing.assert_allclose(mean_entropy(ours[:, order]), mean_entropy(ours), rtol=1e-5)


def test_heads_are_scored_apart() -> None:
    logits = normal(np.random.default_rng(0), 3, 6, 4)
    scores = tf.nn.log_softmax(logits)
    losses, entropies = neighbor_consistency(scores, scores[:, ::-1]), mean_entropy(scores)
    assert losses.shape == (3, 6)
    assert entropies.shape == (3,)
    for head in range(3):
        alone = neighbor_consistency(scores[head], scores[head, ::-1])
        np.testing.assert_allclose(losses[head], alone, rtol=1e-6)
        np.testing.assert_allclose(entropies[head], mean_entropy(scores[head]), rtol=1e-6)


def test_heads_sure_of_different_clusters_still_have_a_gradient() -> None:
    """Their dot product is e^-200: float32 holds nothing below e^-103."""
    logits = tf.constant([[200.0, 0.0, -200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        scores = tf.nn.log_softmax(logits)
        loss = neighbor_consistency(scores, tf.nn.log_softmax(tf.constant([[-200.0, 200.0, 0.0]])))
        total = tf.reduce_sum(loss) - mean_entropy(scores)
    assert float(tf.reduce_sum(tf.exp(scores) * [[0.0, 1.0, 0.0]])) == 0.0
    assert float(loss[0]) == pytest.approx(200.0)
    gradient = tape.gradient(total, logits).numpy()
    assert np.isfinite(gradient).all()
    # The gradient moves the answer from the first cluster to the second one, at full strength.
    np.testing.assert_allclose(gradient, [[1.0, -1.0, 0.0]], atol=1e-6)


def test_known_values() -> None:
    sure = tf.nn.log_softmax(50.0 * tf.eye(4))
    unsure = tf.nn.log_softmax(tf.zeros([4, 4]))
    np.testing.assert_allclose(neighbor_consistency(sure, sure), 0.0, atol=1e-6)
    np.testing.assert_allclose(neighbor_consistency(unsure, unsure), math.log(4), rtol=1e-6)
    assert float(mean_entropy(sure)) == pytest.approx(math.log(4))
    assert float(mean_entropy(sure[:1])) == pytest.approx(0.0, abs=1e-6)
    lowest = tf.reduce_mean(neighbor_consistency(sure, sure)) - 2.0 * mean_entropy(sure)
    assert float(lowest) == pytest.approx(-2.0 * math.log(4))


def test_half_precision_is_scored_in_float32() -> None:
    scores = tf.cast(tf.nn.log_softmax(normal(np.random.default_rng(1), 4, 10)), tf.bfloat16)
    wide = tf.cast(scores, tf.float32)
    assert neighbor_consistency(scores, scores).dtype == tf.float32
    np.testing.assert_array_equal(
        neighbor_consistency(scores, scores), neighbor_consistency(wide, wide)
    )
    np.testing.assert_array_equal(mean_entropy(scores), mean_entropy(wide))

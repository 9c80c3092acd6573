from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.distribution_alignment import align_to_uniform
from tests.algorithm.arrays import normal
from tests.reference.distribution_alignment import aligned_probabilities


@given(seed=st.integers(0, 999), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_equals_normalised_ratio(seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    logits, marginal = normal(generator, 7, 5, scale=scale), generator.dirichlet(np.ones(5) * 2)
    marginal = np.maximum(marginal, 1e-3)
    actual = tf.nn.softmax(align_to_uniform(logits, marginal))
    np.testing.assert_allclose(actual, aligned_probabilities(logits, marginal), atol=1e-5)


@given(seed=st.integers(0, 999))
def test_equal_frequencies_change_nothing(seed: int) -> None:
    logits = normal(np.random.default_rng(seed), 6, 4)
    actual = tf.nn.softmax(align_to_uniform(logits, np.full(4, 0.25)))
    np.testing.assert_allclose(actual, tf.nn.softmax(logits), atol=1e-6)


def test_a_cluster_never_predicted_is_not_infinitely_likely() -> None:
    logits = np.array([[0.0, -200.0]])
    actual = align_to_uniform(logits, np.array([1.0, 0.0]))
    assert np.isfinite(actual).all()
    assert tf.argmax(actual, axis=1).numpy() == [0]


def test_a_rare_cluster_wins_a_tie() -> None:
    logits = np.zeros((1, 2))
    actual = tf.nn.softmax(align_to_uniform(logits, np.array([0.8, 0.2])))[0]
    assert actual.numpy() == pytest.approx([0.2, 0.8], abs=1e-6)

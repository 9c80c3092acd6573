from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.self_losses import cross_entropy, entropy_term, pair_losses, tempered
from spice_keras.options import SelfLoss
from tests.algorithm.arrays import normal
from tests.reference import self_losses as reference

scales = st.sampled_from([0.01, 1.0, 30.0])
LOSSES: list[SelfLoss] = ["double-softmax", "softmax", "temperature"]


@pytest.mark.parametrize("loss", LOSSES)
@given(
    num_clusters=st.integers(1, 8),
    scale=scales,
    temperature=st.sampled_from([0.2, 1.0, 5.0]),
    seed=st.integers(0, 999),
)
def test_equals_the_rows_of_table_4(
    loss: SelfLoss, num_clusters: int, scale: float, temperature: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = normal(generator, 6, num_clusters, scale=scale)
    labels = generator.integers(0, num_clusters, 6)
    losses = pair_losses(labels, tempered(logits, loss, temperature), loss)
    assert losses.dtype == tf.float32
    expected = reference.pair_losses(labels, logits, loss, temperature)
    np.testing.assert_allclose(losses, expected, rtol=2e-5, atol=2e-5)


def test_a_sure_and_wrong_answer_costs_without_bound_unlike_the_papers() -> None:
    logits = np.array([[50.0, 0.0, 0.0]], np.float32)
    assert float(cross_entropy([1], logits)[0]) == pytest.approx(50.0)
    assert float(pair_losses([1], logits, "double-softmax")[0]) < math.log(1 + 2 / math.e) + 1.01


def test_only_the_loss_with_a_temperature_divides() -> None:
    logits = normal(np.random.default_rng(0), 4, 3)
    for loss in LOSSES:
        expected = logits / np.float32(0.2) if loss == "temperature" else logits
        np.testing.assert_allclose(tempered(logits, loss, 0.2), expected, rtol=1e-6)


def test_refuses_another_loss() -> None:
    with pytest.raises(ValueError, match="Received: loss='hinge'"):
        pair_losses([0], np.zeros((1, 2), np.float32), "hinge")  # type: ignore[arg-type]


@given(
    batch=st.integers(1, 8),
    num_clusters=st.integers(1, 6),
    scale=scales,
    weight=st.sampled_from([0.5, 1.0, 4.0]),
    seed=st.integers(0, 999),
)
def test_entropy_equals_the_sum_over_clusters_and_stays_in_its_band(
    batch: int, num_clusters: int, scale: float, weight: float, seed: int
) -> None:
    logits = normal(np.random.default_rng(seed), 2, batch, num_clusters, scale=scale)
    terms = entropy_term(logits, weight).numpy()
    expected = [reference.entropy_term(head, weight) for head in logits]
    np.testing.assert_allclose(terms, expected, rtol=1e-4, atol=1e-5)
    assert (terms <= 1e-5).all()
    assert (terms >= -weight * math.log(num_clusters) - 1e-5).all()


def test_entropy_is_least_for_even_clusters_and_pulls_back_an_empty_one() -> None:
    even, single = 9.0 * np.eye(3, dtype=np.float32), 9.0 * np.eye(3, dtype=np.float32)[[0, 0, 0]]
    assert float(entropy_term(even, 1.0)) == pytest.approx(-math.log(3), abs=1e-4)
    assert float(entropy_term(single, 1.0)) == pytest.approx(0.0, abs=1e-2)
    # Below the 1e-5 at which the released code clips the mean.
    logits = tf.constant([[14.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        term = entropy_term(logits, 1.0)
    gradient = tape.gradient(term, logits).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 1] < 0.0 < gradient[0, 0]

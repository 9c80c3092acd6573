from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.prototypes import (
    confident_samples,
    log_probabilities,
    num_confident,
    prototypes,
)
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import prototypes as reference

sizes = st.tuples(st.integers(1, 3), st.integers(2, 12), st.integers(1, 4), st.integers(0, 999))


@given(sizes=sizes, data=st.data())
def test_equals_eq_1_and_2(sizes: tuple[int, int, int, int], data: st.DataObject) -> None:
    num_heads, num_samples, num_clusters, seed = sizes
    top = data.draw(st.integers(1, num_samples))
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, num_samples, 5)
    scores = normal(generator, num_heads, num_samples, num_clusters)
    chosen = confident_samples(scores, top)
    assert chosen.dtype == tf.int32
    np.testing.assert_array_equal(chosen, reference.confident_samples(scores, top))
    np.testing.assert_allclose(
        prototypes(embeddings, scores, top),
        reference.prototypes(embeddings, scores, top),
        rtol=1e-5,
        atol=1e-6,
    )


@given(sizes=sizes)
def test_equivariant_to_the_order_of_samples_and_clusters(sizes: tuple[int, int, int, int]) -> None:
    num_heads, num_samples, num_clusters, seed = sizes
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, num_samples, 5)
    scores = normal(generator, num_heads, num_samples, num_clusters)
    samples, clusters = generator.permutation(num_samples), generator.permutation(num_clusters)
    top = max(1, num_samples // 2)
    permuted = prototypes(embeddings[samples], scores[:, samples][:, :, clusters], top)
    expected = prototypes(embeddings, scores, top).numpy()[:, clusters]
    np.testing.assert_allclose(permuted, expected, rtol=1e-5, atol=1e-6)


def test_prototype_is_the_plain_mean_not_renormalised() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    scores = np.array([[[3.0], [2.0], [1.0]]], np.float32)
    np.testing.assert_allclose(prototypes(embeddings, scores, 2), [[[0.5, 0.5]]])


def test_heads_do_not_mix() -> None:
    generator = np.random.default_rng(0)
    embeddings, scores = unit_rows(generator, 8, 4), normal(generator, 3, 8, 2)
    together = prototypes(embeddings, scores, 3)
    for head in range(3):
        alone = prototypes(embeddings, scores[head : head + 1], 3)
        np.testing.assert_array_equal(together[head], alone[0])


@given(seed=st.integers(0, 999), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_log_probabilities_equal_the_log_of_softmax(seed: int, scale: float) -> None:
    logits = normal(np.random.default_rng(seed), 2, 3, 4, scale=scale)
    expected = [
        [[reference.log_probability(row, cluster) for cluster in range(4)] for row in head]
        for head in logits
    ]
    np.testing.assert_allclose(log_probabilities(logits), expected, rtol=2e-5, atol=1e-6)


def test_log_probabilities_still_rank_where_float32_softmax_is_1() -> None:
    margins = np.arange(10.0, 85.0, 5.0, dtype=np.float32)
    logits = np.stack([margins, np.zeros_like(margins)], axis=1)
    assert len(np.unique(tf.nn.softmax(logits).numpy()[:, 0])) < len(margins)
    ranked = confident_samples(log_probabilities(logits)[tf.newaxis], len(margins))
    np.testing.assert_array_equal(ranked[0, 0], np.arange(len(margins))[::-1])


def test_log_probabilities_are_finite_for_extreme_logits() -> None:
    values = log_probabilities(np.array([[1e4, -1e4, 0.0], [-3e4, -3e4, -3e4]], np.float32)).numpy()
    assert np.isfinite(values).all()
    assert values.max() <= 0


@pytest.mark.parametrize(
    ("num_samples", "num_clusters", "ratio", "expected"),
    [
        (1000, 10, 0.5, 50),
        (1797, 10, 0.5, 89),
        (8000, 15, 0.5, 266),
        (10, 10, 0.1, 1),
        (9, 2, 1, 4),
    ],
)
def test_num_confident(num_samples: int, num_clusters: int, ratio: float, expected: int) -> None:
    assert num_confident(num_samples, num_clusters, ratio) == expected


def test_refuses_fewer_samples_than_clusters() -> None:
    with pytest.raises(ValueError, match="Received: num_samples=9, num_clusters=10"):
        num_confident(9, 10, 0.5)


@pytest.mark.parametrize("ratio", [0.0, 1.7])
def test_refuses_a_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(ValueError, match=f"Received: confident_ratio={ratio}"):
        num_confident(100, 10, ratio)


@pytest.mark.parametrize("top", [0, 5])
def test_refuses_more_confident_samples_than_there_are(top: int) -> None:
    with pytest.raises(ValueError, match=f"Received: num_confident={top}, num_samples=4"):
        confident_samples(np.zeros((1, 4, 2), np.float32), top)

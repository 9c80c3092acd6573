"""SIC's filters, centres and labels against slow twins, and what must hold of any of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.algorithm.prototypes import log_probabilities
from spice_keras.algorithm.semantic_centers import (
    adjusted_image_centers,
    image_semantic_consistency,
    nearest_words,
    relevant_words,
    semantic_centers,
    semantic_labels,
    semantic_space,
    unique_words,
)
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import cluster_sizes as sizes_twin
from tests.reference import semantic_centers as twin

_DIM = 6
seeds = st.integers(0, 10_000)


def _words(seed: int, count: int = 12) -> np.ndarray:
    """Vectors that have a direction in common, as those of a text encoder do."""
    generator = np.random.default_rng(seed)
    return normal(generator, count, _DIM) + normal(generator, 1, _DIM)


# --- filters ---------------------------------------------------------------------------------


@given(seed=seeds, count=st.integers(1, 13), uniqueness=st.sampled_from([0.0, 0.05, 0.3, 0.9]))
def test_the_filters_are_the_twins(seed: int, count: int, uniqueness: float) -> None:
    words, centers = _words(seed), normal(np.random.default_rng(seed + 1), 3, _DIM)
    relevant = relevant_words(centers, words, count)
    unique = unique_words(words, uniqueness)
    assert relevant.tolist() == twin.relevant_words(centers, words, count)
    assert unique.tolist() == twin.unique_words(words, uniqueness)
    both = semantic_space(centers, words, words_per_center=count, uniqueness=uniqueness)
    assert both.tolist() == sorted({*relevant.tolist()} & {*unique.tolist()})


@given(seed=seeds)
def test_stricter_filters_keep_a_part(seed: int) -> None:
    words, centers = _words(seed), normal(np.random.default_rng(seed + 1), 3, _DIM)
    fewer, more = (set(relevant_words(centers, words, count)) for count in (2, 5))
    assert fewer <= more
    assert 2 <= len(fewer) <= 6
    assert set(unique_words(words, 0.4)) <= set(unique_words(words, 0.1))


def test_the_length_of_vectors_does_not_matter_to_relevance() -> None:
    words, centers = _words(0), normal(np.random.default_rng(1), 3, _DIM)
    scale = np.linspace(0.1, 9.0, len(words), dtype=np.float32)[:, np.newaxis]
    assert relevant_words(centers, words, 2).tolist() == (
        relevant_words(7.0 * centers, words * scale, 2).tolist()
    )


def test_a_word_that_says_what_all_say_is_left_out() -> None:
    words = np.eye(5, dtype=np.float32)
    words = np.concatenate([words, np.ones((1, 5), np.float32)])
    assert unique_words(words, 0.05).tolist() == [0, 1, 2, 3, 4]


# --- centres ---------------------------------------------------------------------------------

shapes = st.tuples(st.integers(1, 3), st.integers(4, 15), st.integers(2, 4))


@settings(max_examples=30)
@given(
    seed=seeds,
    shape=shapes,
    ratio=st.sampled_from([0.2, 0.5, 0.9, 1.0]),
    count=st.sampled_from([1, 3, 12, 30]),
)
def test_the_centers_are_the_twins(
    seed: int, shape: tuple[int, int, int], ratio: float, count: int
) -> None:
    heads, samples, clusters = shape
    generator = np.random.default_rng(seed)
    features, words = 3.0 * normal(generator, samples, _DIM), _words(seed)
    logits = normal(generator, heads, samples, clusters)
    adjusted = adjusted_image_centers(features, logits, ratio)
    chosen = nearest_words(adjusted, words, count)
    centers = semantic_centers(words, chosen)
    assert adjusted.shape == centers.shape == (heads, clusters, _DIM)
    np.testing.assert_allclose(np.linalg.norm(centers, axis=2), 1.0, rtol=1e-5)
    for head in range(heads):
        expected = twin.adjusted_image_centers(features, logits[head], ratio)
        np.testing.assert_allclose(adjusted[head], expected, rtol=1e-4, atol=1e-5)
        ours = chosen[head].numpy()
        assert ours.tolist() == twin.nearest_words(expected, words, count).tolist()
        np.testing.assert_allclose(
            centers[head], twin.semantic_centers(words, ours), rtol=1e-4, atol=1e-5
        )


@given(seed=seeds, ratio=st.sampled_from([0.2, 0.5, 1.0]))
def test_a_large_cluster_has_a_center_of_more_images(seed: int, ratio: float) -> None:
    generator = np.random.default_rng(seed)
    features, logits = normal(generator, 17, _DIM), normal(generator, 2, 17, 3, scale=3.0)
    even = adjusted_image_centers(features, logits, ratio, (1.0, 1.0))
    np.testing.assert_allclose(even, adjusted_image_centers(features, logits, ratio), atol=1e-6)
    centers = adjusted_image_centers(features, logits, ratio, (0.0, 0.0))
    shares = sizes_twin.estimated_shares(log_probabilities(logits).numpy(), (0.0, 0.0))
    for head in range(2):
        counts = sizes_twin.claim_counts([Fraction(share) for share in shares[head]], 17)
        for cluster, count in enumerate(counts):
            surest = twin.most(logits[head, :, cluster].tolist(), max(1, int(ratio * count)))
            expected = twin.unit(twin.mean_of(features[surest].tolist()))
            np.testing.assert_allclose(centers[head, cluster], expected, rtol=1e-4, atol=1e-5)


def test_the_mean_is_of_features_as_they_are() -> None:
    """A long one weighs more; unit rows would count alike."""
    features = np.array([[9.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 5.0]], np.float32)
    logits = np.array([[[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]]], np.float32)
    center = adjusted_image_centers(features, logits, 1.0)[0, 0].numpy()
    np.testing.assert_allclose(center, np.array([9.0, 1.0]) / np.sqrt(82.0), rtol=1e-5)


def test_logits_rank_where_probabilities_are_all_one() -> None:
    features = np.eye(4, dtype=np.float32)
    logits = np.array([[[90.0, 0.0], [99.0, 0.0], [0.0, 90.0], [0.0, 99.0]]], np.float32)
    centers = adjusted_image_centers(features, logits, 0.5)
    assert np.argmax(centers, axis=2).tolist() == [[1, 3]]


# --- labels and loss -------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=seeds, temperature=st.sampled_from([None, 0.05, 1.0]))
def test_labels_and_their_loss_are_the_twins(seed: int, temperature: float | None) -> None:
    generator = np.random.default_rng(seed)
    features, centers = 5.0 * normal(generator, 7, _DIM), unit_rows(generator, 2, 4, _DIM)
    logits = normal(generator, 2, 7, 4, scale=3.0)
    labels = semantic_labels(features, centers, temperature)
    losses = image_semantic_consistency(tf.nn.log_softmax(logits), labels)
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=2), 1.0, rtol=1e-5)
    for head in range(2):
        expected = twin.semantic_labels(features, centers[head], temperature)
        np.testing.assert_allclose(labels[head], expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(
            losses[head], twin.image_semantic_consistency(logits[head], expected), rtol=1e-3
        )
    longer = semantic_labels(4.0 * features, centers, temperature)
    np.testing.assert_allclose(longer, labels, rtol=1e-3, atol=1e-6)


def test_a_low_temperature_is_the_most_similar_center() -> None:
    generator = np.random.default_rng(0)
    features, centers = normal(generator, 7, _DIM), unit_rows(generator, 2, 4, _DIM)
    sure = semantic_labels(features, centers, 1e-5)
    np.testing.assert_allclose(sure, semantic_labels(features, centers), atol=1e-4)


def test_a_sure_mistake_has_a_gradient() -> None:
    logits = tf.constant([[200.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = image_semantic_consistency(tf.nn.log_softmax(logits), [[0.0, 1.0]])
    assert float(loss[0]) == pytest.approx(200.0)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[1.0, -1.0]], atol=1e-6)


# --- refusals --------------------------------------------------------------------------------


def test_refuses_what_cannot_be() -> None:
    words, centers = _words(0), normal(np.random.default_rng(1), 3, _DIM)
    with pytest.raises(ValueError, match="one space"):
        relevant_words(centers[:, 1:], words, 2)
    with pytest.raises(ValueError, match="words_per_center=0"):
        relevant_words(centers, words, 0)
    with pytest.raises(ValueError, match=r"uniqueness=1\.5"):
        unique_words(words, 1.5)
    with pytest.raises(ValueError, match="fewer clusters"):
        adjusted_image_centers(words, np.zeros((1, 12, 13), np.float32), 0.9)

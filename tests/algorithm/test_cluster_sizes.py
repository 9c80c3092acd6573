"""Estimated sizes of clusters, and claims that follow them."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.claims import claimed_samples, sized_claims
from spice_keras.algorithm.cluster_sizes import claim_counts, confident_counts, estimated_shares
from spice_keras.algorithm.prototypes import log_probabilities, num_confident
from spice_keras.algorithm.pseudo_labels import own_pseudo_labels
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import cluster_sizes as reference

_SEEDS = st.integers(0, 999)
_ASSIGNMENTS = pytest.mark.parametrize("assignment", ["overlap", "exclusive"])
Assignment = Literal["overlap", "exclusive"]


def _log_probabilities(seed: int, heads: int, samples: int, clusters: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return log_probabilities(normal(generator, heads, samples, clusters, scale=3.0)).numpy()


# --- shares ----------------------------------------------------------------------------------


@given(seed=_SEEDS, clusters=st.integers(1, 5), weight=st.sampled_from([0.0, 0.25, 1.0]))
def test_shares_are_the_twins_and_a_distribution(seed: int, clusters: int, weight: float) -> None:
    scores = _log_probabilities(seed, 2, 7, clusters)
    shares = estimated_shares(scores, (weight, 0.5)).numpy()
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, reference.estimated_shares(scores, (weight, 0.5)), rtol=1e-5)
    assert shares.min() > 0
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)


def test_a_head_that_is_sure_has_the_shares_of_its_clusters() -> None:
    clusters = np.array([0, 0, 0, 2, 2, 1])
    scores = log_probabilities(50.0 * np.eye(3, dtype=np.float32)[clusters][np.newaxis])
    np.testing.assert_allclose(estimated_shares(scores, (0.0,)), [[3 / 6, 1 / 6, 2 / 6]], rtol=1e-5)


@pytest.mark.parametrize("evenness", [(0.5,), (0.5, 1.5), (-0.1, 0.0), (0.5, float("nan"))])
def test_refuses_other_weights_than_one_for_each_head(evenness: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"2 weights in \[0, 1\].*Received: evenness="):
        estimated_shares(_log_probabilities(0, 2, 4, 3), evenness)


# --- counts ----------------------------------------------------------------------------------


@given(
    parts=st.lists(st.integers(0, 8), min_size=1, max_size=6).filter(any),
    spare=st.integers(0, 40),
)
def test_counts_are_the_twins_and_add_up(parts: list[int], spare: int) -> None:
    # Eighths of powers of two are exact in float32, so that ties are ties in both.
    total, num_samples = sum(parts), len(parts) + spare
    if total & (total - 1):
        parts = [*parts, 2 ** total.bit_length() - total]
        total, num_samples = sum(parts), num_samples + 1
    shares = [Fraction(part, total) for part in parts]
    counts = claim_counts(np.array([shares], np.float32), num_samples).numpy()[0]
    assert counts.tolist() == reference.claim_counts(shares, num_samples)
    assert counts.sum() == len(parts) * (num_samples // len(parts))
    assert counts.min() >= 1


@given(clusters=st.integers(1, 30), spare=st.integers(0, 500))
def test_equal_shares_give_the_papers_number(clusters: int, spare: int) -> None:
    shares = np.full((2, clusters), 1 / clusters, np.float32)
    counts = claim_counts(shares, clusters + spare)
    assert counts.dtype == tf.int32
    np.testing.assert_array_equal(counts, (clusters + spare) // clusters)


@given(
    clusters=st.integers(1, 6),
    each=st.integers(1, 300),
    ratio=st.sampled_from([0.2, 0.29, 0.5, 0.9, 1.0]),
)
def test_as_many_are_confident_as_in_the_paper(clusters: int, each: int, ratio: float) -> None:
    expected = num_confident(clusters * each, clusters, ratio)
    assert (
        confident_counts(np.full(clusters, each), ratio).numpy().tolist() == [expected] * clusters
    )


def test_refuses_what_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="Received: num_samples=2, num_clusters=3"):
        claim_counts(np.full((1, 3), 1 / 3, np.float32), 2)
    with pytest.raises(ValueError, match=r"confident_ratio=0\.0"):
        confident_counts(np.array([3]), 0.0)


# --- claims ----------------------------------------------------------------------------------


@_ASSIGNMENTS
@given(seed=_SEEDS, clusters=st.integers(1, 4), data=st.data())
def test_claims_are_the_twins(
    assignment: Assignment, seed: int, clusters: int, data: st.DataObject
) -> None:
    samples = 12
    most = samples // clusters if assignment == "exclusive" else samples
    counts = np.array(
        [data.draw(st.lists(st.integers(1, most), min_size=clusters, max_size=clusters))] * 2
    )
    scores = normal(np.random.default_rng(seed), 2, clusters, samples)
    claimed = sized_claims(scores, counts, assignment).numpy()
    expected = reference.sized_claims(scores, counts, exclusive=assignment == "exclusive")
    for head, sets in zip(claimed, expected, strict=True):
        assert [set(np.flatnonzero(row).tolist()) for row in head] == sets
    np.testing.assert_array_equal(claimed.sum(axis=2), counts)


@_ASSIGNMENTS
@given(seed=_SEEDS, clusters=st.integers(1, 4), each=st.integers(1, 4))
def test_equal_counts_claim_what_the_paper_claims(
    assignment: Assignment, seed: int, clusters: int, each: int
) -> None:
    # Rounded, so that there are ties.
    scores = np.round(normal(np.random.default_rng(seed), 2, clusters, clusters * each + 2))
    marks = sized_claims(scores, np.full((2, clusters), each), assignment).numpy()
    expected = np.zeros_like(marks)
    np.put_along_axis(expected, claimed_samples(scores, each, assignment).numpy(), True, axis=2)
    np.testing.assert_array_equal(marks, expected)


def test_refuses_another_assignment() -> None:
    with pytest.raises(ValueError, match="Received: assignment='greedy'"):
        sized_claims(np.zeros((1, 2, 5), np.float32), np.ones((1, 2)), "greedy")  # type: ignore[arg-type]


# --- pseudo-labels ---------------------------------------------------------------------------


def _pairs(indices: tf.Tensor, labels: tf.Tensor) -> list[set[tuple[int, int]]]:
    every = tf.broadcast_to(labels, indices.shape).numpy().tolist()
    return [
        set(zip(head, own, strict=True))
        for head, own in zip(indices.numpy().tolist(), every, strict=True)
    ]


@_ASSIGNMENTS
@given(seed=_SEEDS, clusters=st.integers(1, 4), weight=st.sampled_from([0.0, 0.3]))
def test_pseudo_labels_are_the_twins(
    assignment: Assignment, seed: int, clusters: int, weight: float
) -> None:
    # Not of unit length: two unit rows are equally near to their mean, and rounding breaks the tie.
    embeddings = normal(np.random.default_rng(seed), 14, 5)
    scores, evenness = _log_probabilities(seed, 2, 14, clusters), (weight, 0.1)
    pairs = own_pseudo_labels(embeddings, scores, 0.5, assignment=assignment, evenness=evenness)
    assert pairs.indices.shape == pairs.labels.shape == (2, clusters * (14 // clusters))
    assert pairs.indices.dtype == pairs.labels.dtype == tf.int32
    exclusive = assignment == "exclusive"
    expected = reference.own_pseudo_labels(embeddings, scores, 0.5, evenness, exclusive=exclusive)
    assert _pairs(*pairs) == expected


@_ASSIGNMENTS
@given(seed=_SEEDS, clusters=st.integers(1, 4))
def test_even_sizes_give_the_papers_pairs(assignment: Assignment, seed: int, clusters: int) -> None:
    embeddings = normal(np.random.default_rng(seed), 14, 5)
    scores = _log_probabilities(seed, 2, 14, clusters)
    papers = own_pseudo_labels(embeddings, scores, 0.5, assignment=assignment)
    sized = own_pseudo_labels(embeddings, scores, 0.5, assignment=assignment, evenness=(1.0, 1.0))
    assert papers.labels.shape.rank == 1
    assert _pairs(*sized) == _pairs(*papers)


def test_claims_that_follow_the_sizes_are_right_where_equal_ones_cannot_be() -> None:
    groups = np.repeat([0, 1, 2], [16, 5, 3])
    embeddings = unit_rows(np.random.default_rng(0), 24, 8) * 0.1
    embeddings += np.eye(8, dtype=np.float32)[groups]
    scores = log_probabilities(9.0 * np.eye(3, dtype=np.float32)[groups][np.newaxis])
    sized, papers = (
        _pairs(*own_pseudo_labels(embeddings, scores, 0.5, evenness=evenness))[0]
        for evenness in ((0.0,), None)
    )
    assert sum(groups[i] != label for i, label in sized) <= 1
    assert sum(groups[i] != label for i, label in papers) == 3 + 5, "eight each"


def test_static_shapes_inside_a_graph() -> None:
    @tf.function
    def step(embeddings: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        pairs = own_pseudo_labels(
            embeddings, scores, 0.5, assignment="exclusive", evenness=(0.0, 1.0)
        )
        assert pairs.indices.shape == pairs.labels.shape == (2, 20)
        return pairs.labels

    labels = step(tf.eye(20, 5), log_probabilities(tf.zeros([2, 20, 4])))
    np.testing.assert_array_equal(np.sort(labels, axis=1), [np.repeat(np.arange(4), 5)] * 2)

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.local_consistency import (
    ReliableLabels,
    local_consistency,
    reliable_labels,
)
from spice_keras.clustering.neighbors import nearest_neighbors
from tests.reference import local_consistency as reference


@given(num_samples=st.integers(1, 20), num_neighbors=st.integers(1, 9), seed=st.integers(0, 999))
def test_equals_eq_5(num_samples: int, num_neighbors: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    clusters = generator.integers(0, 3, num_samples)
    neighbors = generator.integers(0, num_samples, (num_samples, num_neighbors)).astype(np.int32)
    betas = local_consistency(clusters, neighbors)
    assert betas.dtype == np.float32
    np.testing.assert_array_equal(
        betas, np.array(reference.local_consistency(clusters, neighbors), np.float32)
    )


@given(seed=st.integers(0, 999))
def test_independent_of_cluster_names_and_sample_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    clusters = generator.integers(0, 4, 15)
    neighbors = generator.integers(0, 15, (15, 5))
    betas = local_consistency(clusters, neighbors)
    renamed = generator.permutation(4)[clusters]
    np.testing.assert_array_equal(local_consistency(renamed, neighbors), betas)
    order = generator.permutation(15)
    position = np.argsort(order)
    np.testing.assert_array_equal(
        local_consistency(clusters[order], position[neighbors[order]]), betas[order]
    )


def test_bounds_are_reached() -> None:
    neighbors = np.array([[0, 1], [1, 0], [2, 0]])
    np.testing.assert_array_equal(local_consistency(np.zeros(3, int), neighbors), 1.0)
    np.testing.assert_array_equal(local_consistency(np.arange(3), neighbors), 0.5)


def test_refuses_neighbors_of_other_samples() -> None:
    with pytest.raises(ValueError, match=r"Received: shapes \(3,\) and \(4, 2\)"):
        local_consistency(np.zeros(3, int), np.zeros((4, 2), int))


# Multiples of 1/20 make ties, both with each other and with the thresholds, frequent.
shares = st.integers(0, 20).map(lambda twentieths: twentieths / 20)
samples = st.lists(st.tuples(st.integers(0, 3), shares, shares), max_size=25)
thresholds = st.integers(0, 19).map(lambda twentieths: twentieths / 20)


def select(rows: list[tuple[int, float, float]], **options: object) -> ReliableLabels:
    columns = np.array(rows, np.float64).reshape(-1, 3)
    defaults: dict = {
        "num_clusters": 4,
        "consistency_threshold": 0.5,
        "confidence_threshold": 0.5,
        "min_per_cluster": 0,
    }
    clusters = columns[:, 0].astype(np.int32)
    return reliable_labels(clusters, columns[:, 1], columns[:, 2], **(defaults | options))


@given(rows=samples, tau=thresholds, sure=thresholds, least=st.integers(0, 5))
def test_equals_the_rule_in_words(
    rows: list[tuple[int, float, float]], tau: float, sure: float, least: int
) -> None:
    chosen = select(
        rows, consistency_threshold=tau, confidence_threshold=sure, min_per_cluster=least
    )
    clusters, confidence, consistency = ([row[column] for row in rows] for column in range(3))
    kept, repaired, empty = reference.reliable_labels(
        clusters, confidence, consistency, 4, tau, sure, least
    )
    assert chosen.indices.tolist() == kept
    assert chosen.labels.tolist() == [clusters[index] for index in kept]
    assert chosen.counts.tolist() == [chosen.labels.tolist().count(k) for k in range(4)]
    assert list(chosen.repaired) == repaired
    assert list(chosen.empty) == empty
    assert (chosen.indices.dtype, chosen.labels.dtype) == (np.int64, np.int32)
    assert chosen.counts.dtype == np.int64


@given(rows=samples, low=thresholds, high=thresholds)
def test_a_higher_threshold_keeps_a_subset(
    rows: list[tuple[int, float, float]], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    for name in ("consistency_threshold", "confidence_threshold"):
        larger = select(rows, **{name: low}).indices
        smaller = select(rows, **{name: high}).indices
        assert set(smaller.tolist()) <= set(larger.tolist())


@given(rows=samples, least=st.integers(0, 5), seed=st.integers(0, 99))
def test_min_balance_draws_equally_many_of_the_same_labels(
    rows: list[tuple[int, float, float]], least: int, seed: int
) -> None:
    free = select(rows, min_per_cluster=least)
    even = select(rows, min_per_cluster=least, balance="min", seed=seed)
    present = free.counts[free.counts > 0]
    expected = np.where(free.counts > 0, present.min() if len(present) else 0, 0)
    np.testing.assert_array_equal(even.counts, expected)
    assert set(even.indices.tolist()) <= set(free.indices.tolist())
    assert even.indices.tolist() == sorted(even.indices.tolist())
    again = select(rows, min_per_cluster=least, balance="min", seed=seed)
    np.testing.assert_array_equal(even.indices, again.indices)


@given(rows=samples, least=st.integers(0, 5), seed=st.integers(0, 99))
def test_equal_shares_change_nothing(
    rows: list[tuple[int, float, float]], least: int, seed: int
) -> None:
    for balance in ("none", "min"):
        options = {"min_per_cluster": least, "balance": balance, "seed": seed}
        plain, shared = select(rows, **options), select(rows, **options, shares=np.full(4, 0.25))
        np.testing.assert_array_equal(plain.indices, shared.indices)
        # A minimum of none repairs none.
        assert plain.repaired == shared.repaired


@given(rows=samples, least=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_cluster_needs_and_keeps_as_many_labels_as_it_is_large(
    rows: list[tuple[int, float, float]], least: int, seed: int
) -> None:
    sizes = np.bincount([row[0] for row in rows], minlength=4)
    shares = sizes / max(1, len(rows))
    free = select(rows, min_per_cluster=least, shares=shares)
    fewest = [
        min(int(size), max(1, round(least * 4 * share)))
        for size, share in zip(sizes, shares, strict=True)
    ]
    passing = select(rows, min_per_cluster=0).counts
    np.testing.assert_array_equal(free.counts, np.maximum(passing, fewest))
    kept = select(rows, min_per_cluster=least, balance="min", seed=seed, shares=shares)
    assert set(kept.indices.tolist()) <= set(free.indices.tolist())
    if not len(rows):
        return
    present = free.counts > 0
    measure = min(
        Fraction(int(c), int(s)) for c, s in zip(free.counts[present], sizes[present], strict=True)
    )
    expected = [max(1, math.floor(measure * int(size))) for size in sizes[present]]
    np.testing.assert_array_equal(kept.counts[present], expected)


def test_min_balance_depends_on_the_seed() -> None:
    rows = [(0, 1.0, 1.0)] * 30 + [(1, 1.0, 1.0)] * 5
    draws = {tuple(select(rows, balance="min", seed=seed).indices) for seed in range(5)}
    assert len(draws) > 1


@pytest.mark.parametrize("tau", [0.90, 0.95, 0.99])
def test_a_share_equal_to_the_threshold_is_not_enough(tau: float) -> None:
    # 99 of 100 in float32 is more than the double 0.99: the comparison must not see that.
    agreeing = round(100 * tau)
    shares = np.array([agreeing - 1, agreeing, agreeing + 1], np.float32) / np.float32(100)
    chosen = reliable_labels(
        np.zeros(3, np.int32),
        np.ones(3),
        shares,
        num_clusters=1,
        consistency_threshold=tau,
        confidence_threshold=0.0,
        min_per_cluster=0,
    )
    assert chosen.indices.tolist() == [2]


def test_repair_keeps_every_reliable_sample() -> None:
    # Sample 1 is more consistent than the reliable sample 0, but not sure enough.
    chosen = select([(2, 0.9, 0.8), (2, 0.1, 1.0), (2, 0.2, 0.9)], min_per_cluster=2)
    assert chosen.indices.tolist() == [0, 1]
    assert chosen.repaired == (2,)
    assert chosen.empty == (0, 1, 3)


def test_well_separated_groups_are_all_reliable_but_for_the_mislabelled() -> None:
    groups = np.repeat(np.arange(3), 20)
    noise = 0.05 * np.random.default_rng(0).standard_normal((60, 3))
    points = np.eye(3)[groups] + noise
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    clusters = groups.copy()
    clusters[7] = 2
    betas = local_consistency(clusters, nearest_neighbors(points, 10))
    chosen = reliable_labels(
        clusters,
        np.ones(60),
        betas,
        num_clusters=3,
        consistency_threshold=0.85,
        confidence_threshold=0.99,
        min_per_cluster=5,
    )
    assert betas[7] == np.float32(0.1)
    assert 7 not in chosen.indices
    np.testing.assert_array_equal(groups[chosen.indices], chosen.labels)
    assert chosen.counts.tolist() == [19, 20, 20]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"consistency_threshold": 1.0}, "consistency_threshold=1.0"),
        ({"confidence_threshold": -0.1}, "confidence_threshold=-0.1"),
        ({"min_per_cluster": -1}, "min_per_cluster=-1"),
        ({"balance": "max"}, "balance='max'"),
        ({"shares": np.ones(3)}, r"shape \(3,\)"),
        ({"num_clusters": 1}, "num_clusters=1"),
    ],
)
def test_refuses_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"Received: {message}"):
        select([(0, 1.0, 1.0), (1, 1.0, 1.0)], **options)


def test_refuses_arrays_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"Received: shapes \(2,\), \(3,\), \(2,\)"):
        reliable_labels(
            np.zeros(2, int),
            np.ones(3),
            np.ones(2),
            num_clusters=1,
            consistency_threshold=0.5,
            confidence_threshold=0.5,
            min_per_cluster=1,
        )

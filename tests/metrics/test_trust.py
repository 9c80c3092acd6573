from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.metrics.trust import (
    cluster_sizes,
    embedding_std,
    head_agreement,
    local_consistency_rate,
    silhouette,
    size_balance,
)
from tests.reference import clustering as reference


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def groups_of_points(spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """60 points around three orthogonal directions, and the group of each."""
    groups = np.repeat(np.arange(3), 20)
    noise = spread * np.random.default_rng(seed).standard_normal((60, 3))
    return unit(np.eye(3)[groups] + noise), groups


def test_local_consistency_rate_is_1_for_true_groups_and_falls_with_wrong_ones() -> None:
    points, groups = groups_of_points(0.05)
    neighbors = nearest_neighbors(points, 10)
    assert local_consistency_rate(groups, neighbors) == 1.0
    random = np.random.default_rng(1).integers(0, 3, 60)
    rate = local_consistency_rate(random, neighbors)
    assert type(rate) is float
    # Itself, and about a third of the other nine.
    assert rate == pytest.approx(0.1 + 0.9 / 3, abs=0.1)


@given(seed=st.integers(0, 99), num_heads=st.integers(2, 4))
def test_head_agreement_is_the_mean_pairwise_ari(seed: int, num_heads: int) -> None:
    heads = np.random.default_rng(seed).integers(0, 3, (num_heads, 12))
    heads[:, :3] = [0, 0, 1]
    expected = np.mean(
        [
            reference.adjusted_rand_index(heads[i].tolist(), heads[j].tolist())
            for i in range(num_heads)
            for j in range(i)
        ]
    )
    assert head_agreement(heads) == pytest.approx(expected, abs=1e-9)


def test_heads_that_only_name_clusters_differently_agree() -> None:
    clusters = np.array([0, 1, 2, 1, 0])
    assert head_agreement(np.stack([clusters, (clusters + 1) % 3, 2 - clusters])) == 1.0
    assert head_agreement(clusters[np.newaxis]) == 1.0


@pytest.mark.parametrize("shape", [(0, 5), (5,)])
def test_head_agreement_refuses_no_head(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one head"):
        head_agreement(np.zeros(shape, int))


@given(clusters=st.lists(st.integers(0, 4), max_size=20))
def test_cluster_sizes_count_every_sample(clusters: list[int]) -> None:
    sizes = cluster_sizes(np.array(clusters, np.int32), 6)
    assert sizes.dtype == np.int64
    assert sizes.tolist() == [clusters.count(cluster) for cluster in range(6)]


@pytest.mark.parametrize("clusters", [[0, 3], [-1, 0]])
def test_cluster_sizes_refuse_unknown_clusters(clusters: list[int]) -> None:
    with pytest.raises(ValueError, match="Received: num_clusters=3"):
        cluster_sizes(np.array(clusters), 3)


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
def test_size_balance_is_bounded_and_blind_to_names_and_scale(sizes: list[int]) -> None:
    balance = size_balance(sizes)
    assert type(balance) is float
    assert 0.0 <= balance <= 1.0
    assert size_balance(sizes[::-1]) == pytest.approx(balance, abs=1e-12)
    assert size_balance([7 * size for size in sizes]) == pytest.approx(balance, abs=1e-12)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([5, 5, 5], 1.0), ([9, 0, 0], 0.0), ([4, 4, 0, 0], 0.5), ([3], 1.0), ([3, 1], 0.8112781)],
)
def test_size_balance_known_values(sizes: list[int], expected: float) -> None:
    assert size_balance(sizes) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("sizes", [[], [0, 0], [2, -1], [[1, 2]]])
def test_size_balance_refuses_what_are_no_sizes(sizes: list) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        size_balance(sizes)


def test_silhouette_is_high_for_true_groups_only() -> None:
    points, groups = groups_of_points(0.05)
    true = silhouette(points, groups)
    random = silhouette(points, np.random.default_rng(0).integers(0, 3, 60))
    assert type(true) is float
    assert true > 0.9
    assert random is not None
    assert random < 0.1


def test_silhouette_equals_its_definition() -> None:
    points, groups = groups_of_points(0.5, seed=4)
    distance = 1.0 - points.astype(np.float64) @ points.T.astype(np.float64)
    scores = []
    for own in range(60):
        mean = [
            np.mean([distance[own, i] for i in range(60) if groups[i] == g and i != own])
            for g in range(3)
        ]
        inside = mean[groups[own]]
        outside = min(mean[g] for g in range(3) if g != groups[own])
        scores.append((outside - inside) / max(inside, outside))
    assert silhouette(points, groups) == pytest.approx(np.mean(scores), abs=1e-5)


def test_silhouette_of_a_sample_is_seeded_and_near_the_whole() -> None:
    points, groups = groups_of_points(0.2)
    drawn = silhouette(points, groups, max_samples=40, seed=1)
    assert drawn == silhouette(points, groups, max_samples=40, seed=1)
    assert drawn != silhouette(points, groups, max_samples=40, seed=2)
    assert drawn == pytest.approx(silhouette(points, groups), abs=0.1)


@pytest.mark.parametrize("clusters", [[1, 1, 1, 1], [0, 1, 2, 3]])
def test_silhouette_is_none_where_undefined(clusters: list[int]) -> None:
    assert silhouette(np.eye(4), np.array(clusters)) is None


def test_silhouette_is_none_for_no_sample_and_refuses_other_shapes() -> None:
    assert silhouette(np.zeros((0, 3)), np.zeros(0, int)) is None
    with pytest.raises(ValueError, match=r"Received: shapes \(4, 4\) and \(3,\)"):
        silhouette(np.eye(4), np.zeros(3, int))
    with pytest.raises(ValueError, match="Received: max_samples=1"):
        silhouette(np.eye(4), np.zeros(4, int), max_samples=1)


def test_embedding_std_tells_collapse_from_spread() -> None:
    generator = np.random.default_rng(0)
    assert embedding_std(unit(generator.standard_normal((4000, 32)))) == pytest.approx(1, abs=0.01)
    assert embedding_std(np.repeat(unit(np.ones((1, 32))), 10, axis=0)) == pytest.approx(
        0, abs=1e-6
    )
    line = np.zeros((4000, 16))
    line[:, 0] = generator.choice([-1.0, 1.0], 4000)
    # One of 16 dimensions has deviation 1: 1/16 on average, times sqrt(16).
    assert embedding_std(line) == pytest.approx(0.25, abs=0.01)


@given(seed=st.integers(0, 99), dim=st.integers(1, 8), count=st.integers(1, 30))
def test_embedding_std_is_a_float_in_0_to_1(seed: int, dim: int, count: int) -> None:
    value = embedding_std(unit(np.random.default_rng(seed).standard_normal((count, dim))))
    assert type(value) is float
    assert 0.0 <= value <= 1.0 + 1e-6


def test_embedding_std_refuses_no_sample() -> None:
    with pytest.raises(ValueError, match=r"Received: shape=\(0, 3\)"):
        embedding_std(np.zeros((0, 3)))

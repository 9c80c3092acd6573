from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.clustering.balanced_kmeans import _assignment, balanced_kmeans
from tests.algorithm.arrays import unit_rows
from tests.reference import balanced_kmeans as reference


def groups(counts: list[int], dim: int = 12, noise: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings around orthogonal directions, and the group of each."""
    generator = np.random.default_rng(0)
    group = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = np.eye(len(counts), dim)[group] + noise * generator.standard_normal((len(group), dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), group


@settings(max_examples=25)
@given(
    num_samples=st.integers(2, 12),
    num_clusters=st.integers(2, 4),
    balance=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_assignment_equals_sinkhorn_in_loops(
    num_samples: int, num_clusters: int, balance: float, seed: int
) -> None:
    similarity = np.random.default_rng(seed).uniform(-1, 1, (num_samples, num_clusters))
    expected = reference.assignment(similarity, balance, 0.5, rounds=10 if balance else 0)
    actual = _assignment(similarity.astype(np.float32), balance, 0.5)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_finds_even_groups(balance: float) -> None:
    embeddings, group = groups([30, 30, 30, 30])
    found = balanced_kmeans(embeddings, 4, seed=0, num_init=5, balance=balance)
    best = found.clusters[0]
    assert len(set(zip(best.tolist(), group.tolist(), strict=True))) == len(set(best.tolist())) == 4
    for cluster in range(4):
        mean = embeddings[best == cluster].mean(axis=0)
        np.testing.assert_allclose(
            found.centroids[0, cluster], mean / np.linalg.norm(mean), atol=0.02
        )


def test_balance_sets_how_even_the_clusters_become() -> None:
    embeddings, _ = groups([60, 20, 20], noise=0.4)
    largest = [
        np.bincount(
            balanced_kmeans(embeddings, 3, seed=0, num_init=3, balance=balance).clusters[0]
        ).max()
        for balance in (0.0, 1.0)
    ]
    assert largest[0] > 55
    assert largest[1] < 50


def test_restarts_come_best_first_and_differ() -> None:
    embeddings = unit_rows(np.random.default_rng(3), 200, 6)
    found = balanced_kmeans(embeddings, 8, seed=1, num_init=6)
    assert found.clusters.shape == (6, 200)
    assert found.centroids.shape == (6, 8, 6)
    assert found.clusters.dtype == np.int32
    assert found.centroids.dtype == np.float32
    assert (np.diff(found.objectives) <= 0).all()
    assert len({row.tobytes() for row in found.clusters}) > 1
    for clusters, centroids, objective in zip(*found, strict=True):
        cosines = (embeddings * centroids[clusters]).sum(axis=1)
        assert objective == pytest.approx(cosines.mean(), rel=1e-5)
        np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1.0, rtol=1e-5)


def test_the_seed_decides() -> None:
    embeddings = unit_rows(np.random.default_rng(3), 100, 6)
    one, same, other = (balanced_kmeans(embeddings, 5, seed=s, num_init=2) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.clusters, same.clusters)
    np.testing.assert_array_equal(one.centroids, same.centroids)
    assert one.objectives.tolist() != other.objectives.tolist()


@pytest.mark.parametrize(
    ("distinct", "copies", "clusters"), [(12, 1, 12), (12, 1, 11), (3, 10, 7), (1, 9, 4), (5, 2, 1)]
)
def test_survives_duplicates_and_as_many_clusters_as_samples(
    distinct: int, copies: int, clusters: int
) -> None:
    embeddings = np.repeat(unit_rows(np.random.default_rng(0), distinct, 4), copies, axis=0)
    found = balanced_kmeans(embeddings, clusters, seed=0, num_init=3)
    assert np.isfinite(found.centroids).all()
    assert np.isfinite(found.objectives).all()
    assert found.clusters.min() >= 0
    assert found.clusters.max() < clusters


def test_survives_opposite_and_zero_rows() -> None:
    row = unit_rows(np.random.default_rng(0), 1, 4)
    embeddings = np.concatenate([row, -row, np.zeros((2, 4), np.float32)])
    found = balanced_kmeans(embeddings, 2, seed=0)
    assert np.isfinite(found.centroids).all()
    assert np.isfinite(found.objectives).all()


def test_large_data_is_fitted_on_a_part_and_all_of_it_assigned() -> None:
    embeddings, group = groups([200, 200, 200], noise=0.1)
    found = balanced_kmeans(embeddings, 3, seed=0, num_init=2, max_samples=60)
    assert found.clusters.shape == (2, 600)
    assert len(set(zip(found.clusters[0].tolist(), group.tolist(), strict=True))) == 3


def test_memory_grows_with_samples_times_clusters() -> None:
    embeddings = unit_rows(np.random.default_rng(0), 8000, 4)
    tracemalloc.start()
    balanced_kmeans(embeddings, 10, seed=0, num_init=1, max_iterations=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000 * 10 * 4 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 6}, "num_samples=5, num_clusters=6"),
        ({"num_clusters": 0}, "num_clusters=0"),
        ({"num_init": 0}, "num_init=0"),
        ({"balance": 1.5}, r"balance=1\.5"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"embeddings": np.full((5, 2), np.nan)}, "finite"),
        ({"embeddings": np.zeros(5)}, r"shape=\(5,\)"),
    ],
)
def test_refuses(options: dict[str, object], message: str) -> None:
    arguments = {"embeddings": np.eye(5, 3), "num_clusters": 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        balanced_kmeans(**arguments | options)

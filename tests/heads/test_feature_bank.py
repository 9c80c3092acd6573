"""The feature bank: views as asked for, and one made of rows of any type."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.starts import start_clusters
from tests.reference import neighbors as reference


def _bank(num_weak: int, num_strong: int) -> FeatureBank:
    """Each view holds its own number, the features 0, weak views 1.., strong views 10.."""
    features = np.zeros((5, 3), np.float32)
    views = [
        np.arange(start, start + count, dtype=np.float16)[:, None, None] * np.ones((5, 3))
        for start, count in ((1, num_weak), (10, num_strong))
    ]
    neighbors = np.zeros((5, 2), np.int32)
    return FeatureBank(features, features, neighbors, neighbors[:, 1:], *views)


@pytest.mark.parametrize(
    ("counts", "kinds", "expected"),
    [
        ((2, 3), (), [0]),
        ((2, 3), ("weak",), [0, 1, 2]),
        ((2, 3), ("strong",), [0, 10, 11, 12]),
        ((2, 3), ("weak", "strong"), [0, 1, 2, 10, 11, 12]),
        ((0, 0), ("weak", "strong"), [0]),
    ],
)
def test_the_plain_features_are_the_first_view(
    counts: tuple[int, int], kinds: tuple[str, ...], expected: list[int]
) -> None:
    views = _bank(*counts).views(*kinds)
    assert views.shape == (len(expected), 5, 3)
    numbers = np.arange(len(expected))
    assert views.gather(numbers, np.zeros_like(numbers))[:, 0].tolist() == expected


def _rows(count: int = 30, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, dim))


def test_unit_rows_and_their_neighbors() -> None:
    rows = _rows()
    bank = unit_feature_bank(rows, for_heads=3, for_reliability=6)
    assert bank.features is bank.normalized
    assert bank.features.dtype == np.float32
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.features, expected, atol=1e-7)
    nearest = reference.nearest_neighbors(rows, 6)
    np.testing.assert_array_equal(bank.neighbors, nearest)
    np.testing.assert_array_equal(bank.head_neighbors, nearest[:, 1:4])
    assert bank.views("weak", "strong").shape == (1, 30, 4)


@pytest.mark.parametrize(
    ("for_heads", "for_reliability", "widths"),
    [(1, 2, (2, 1)), (4, 2, (2, 4)), (2, 5, (5, 2)), (29, 30, (30, 29)), (50, 50, (30, 29))],
)
def test_neighbors_for_heads_and_for_reliability(
    for_heads: int, for_reliability: int, widths: tuple[int, int]
) -> None:
    bank = unit_feature_bank(_rows(), for_heads=for_heads, for_reliability=for_reliability)
    assert (bank.neighbors.shape[1], bank.head_neighbors.shape[1]) == widths
    assert (bank.neighbors[:, 0] == np.arange(30)).all()
    assert not (bank.head_neighbors == np.arange(30)[:, None]).any()


def test_another_search_finds_its_neighbors_and_those_of_the_start() -> None:
    """Whatever a fit wants neighbours of, it asks the same search for."""
    asked: list[tuple[int, int]] = []

    def search(embeddings: np.ndarray, count: int) -> np.ndarray:
        asked.append((len(embeddings), count))
        return nearest_neighbors(embeddings, count)

    bank = unit_feature_bank(_rows(60), for_heads=3, for_reliability=6, search=search)
    start_clusters(bank, "spectral", 2, num_heads=2, seed=0)
    assert asked == [(60, 6), (60, 1 + 15)]


def test_one_row_is_its_own_only_neighbor() -> None:
    bank = unit_feature_bank(np.array([[3.0, 4.0]]), for_heads=1, for_reliability=2)
    np.testing.assert_allclose(bank.features, [[0.6, 0.8]])
    assert bank.neighbors.tolist() == [[0]]
    assert bank.head_neighbors.shape == (1, 0)


def test_the_bank_is_one_copy_of_the_rows() -> None:
    """Also of rows of another type and order: converted by blocks, cosines by blocks."""
    rows = np.asfortranarray(np.random.default_rng(0).integers(-9, 9, (6_000, 256)))
    unit_feature_bank(rows[:50], for_heads=1, for_reliability=2)
    tracemalloc.start()
    bank = unit_feature_bank(rows, for_heads=5, for_reliability=10)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    copy = bank.features.nbytes
    blocks = 1024 * 6_000 * 4 + 3 * 4096 * 256 * 8
    assert kept < copy + bank.neighbors.base.nbytes + 1e6
    assert peak < copy + bank.neighbors.base.nbytes + blocks + 5e6

"""Outlier scores equal a loop; what is far from all others has a high one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.clustering import near_duplicates as module
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.clustering.outliers import OUTLIER_SCORE, outlier_scores
from tests.algorithm.arrays import unit_rows
from tests.reference import unusual as reference


@given(seed=st.integers(0, 999), count=st.integers(1, 30), columns=st.integers(1, 14))
def test_equals_a_loop(seed: int, count: int, columns: int) -> None:
    embeddings = unit_rows(np.random.default_rng(seed), count, 5)
    embeddings[count // 2 :] = embeddings[0]  # copies lie at distance 0
    neighbors = nearest_neighbors(embeddings, min(columns, count))
    expected = reference.outlier_scores(embeddings, neighbors)
    np.testing.assert_allclose(outlier_scores(embeddings, neighbors), expected, atol=1e-3)


@given(seed=st.integers(0, 999))
def test_the_order_of_items_changes_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    embeddings, order = unit_rows(generator, 30, 6), generator.permutation(30)
    scores = outlier_scores(embeddings, nearest_neighbors(embeddings, 12))
    permuted = outlier_scores(embeddings[order], nearest_neighbors(embeddings[order], 12))
    np.testing.assert_allclose(permuted, scores[order], atol=1e-3)


def test_what_is_far_from_all_groups_is_found_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.eye(3, 40), 50, axis=0) + 0.05 * generator.normal(size=(150, 40))
    embeddings = np.concatenate([groups, np.eye(40)[[20, 30]], groups[:1]]).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = outlier_scores(embeddings, nearest_neighbors(embeddings, 20))
    assert np.flatnonzero(scores >= OUTLIER_SCORE).tolist() == [150, 151]


def test_a_small_group_of_its_own_kind_is_far_away_too() -> None:
    generator = np.random.default_rng(0)
    rows = np.repeat(np.eye(3, 40), [100, 100, 5], axis=0) + 0.05 * generator.normal(size=(205, 40))
    embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    scores = outlier_scores(embeddings, nearest_neighbors(embeddings, 20))
    assert np.flatnonzero(scores >= OUTLIER_SCORE).tolist() == [200, 201, 202, 203, 204]


def test_items_that_are_all_equal_have_no_outlier() -> None:
    embeddings = np.tile(np.eye(1, 4, dtype=np.float32), (20, 1))
    assert outlier_scores(embeddings, nearest_neighbors(embeddings, 12)).tolist() == [0.0] * 20


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = unit_rows(np.random.default_rng(0), 30, 6)
    neighbors = nearest_neighbors(embeddings, 12)
    whole = outlier_scores(embeddings, neighbors)
    monkeypatch.setattr(module, "_BLOCK", 7)
    np.testing.assert_allclose(outlier_scores(embeddings, neighbors), whole, atol=1e-6)


def test_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: 3 and 2"):
        outlier_scores(np.eye(3), np.zeros((2, 2), np.int32))

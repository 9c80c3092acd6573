"""What chooses among trained heads: modularity, and separation between two groups of them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.heads.criteria import head_scores, loss_scores, modularity_scores
from spice_keras.metrics.modularity import modularity
from spice_keras.metrics.separation import separation
from tests.reference.separation import separation as slow_separation

_CLUSTERS = 3


@given(
    st.integers(3, 12).flatmap(
        lambda count: st.tuples(
            hnp.arrays(np.float64, (count, 3), elements=st.integers(-4, 4)),
            hnp.arrays(np.int64, count, elements=st.integers(0, _CLUSTERS - 1)),
        )
    )
)
def test_the_separation_is_that_of_the_slow_twin(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, clusters = drawn
    unit = l2_normalized(rows).astype(np.float64)
    expected = slow_separation(unit.tolist(), clusters.tolist())
    assert separation(unit, clusters, _CLUSTERS) == pytest.approx(expected, abs=1e-9)


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    """120, 12 and 12 items."""
    return np.repeat([0, 1, 2], [120, 12, 12])


@pytest.fixture(scope="module")
def rows(groups: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(len(groups), 6))
    return l2_normalized(np.eye(3, 6)[groups] + 0.2 * noise)


def _cut_in_two(groups: np.ndarray) -> np.ndarray:
    """The large group cut in half, the small ones joined: what evenness asks for."""
    cut = np.where(groups == 0, 0, 1)
    cut[:60] = 2
    return cut


def test_modularity_prefers_the_groups_whatever_the_losses(
    groups: np.ndarray, rows: np.ndarray
) -> None:
    neighbors = nearest_neighbors(rows, 6)[:, 1:]
    clusters = np.stack([_cut_in_two(groups), groups])
    scores = head_scores(
        clusters,
        np.array([0.0, 9.0]),
        neighbors=neighbors,
        rows=rows,
        groups=1,
        num_clusters=_CLUSTERS,
    )
    assert scores.argmax() == 1
    expected = [modularity(head, neighbors) for head in clusters]
    np.testing.assert_allclose(scores, expected)
    np.testing.assert_allclose(modularity_scores(clusters, neighbors), expected)


def test_heads_for_uneven_clusters_are_taken_if_they_cut_through_nothing(
    groups: np.ndarray, rows: np.ndarray
) -> None:
    neighbors = nearest_neighbors(rows, 6)[:, 1:]
    even, uneven = _cut_in_two(groups), groups
    clusters = np.stack([even, even, uneven, uneven])
    losses = np.array([1.0, 0.0, 0.5, 0.2])
    scores = head_scores(
        clusters, losses, neighbors=neighbors, rows=rows, groups=2, num_clusters=_CLUSTERS
    )
    assert scores.argmax() == 3  # of the second group, the head of the smallest loss
    assert np.isneginf(scores[:2]).all()


def test_of_either_group_the_smallest_loss_may_choose(groups: np.ndarray, rows: np.ndarray) -> None:
    cut, whole = _cut_in_two(groups), groups
    losses, known = np.array([1.0, 0.0, 0.5, 0.2]), {"rows": rows, "num_clusters": _CLUSTERS}
    better = loss_scores(np.stack([cut, cut, whole, whole]), losses, **known)
    no_better = loss_scores(np.stack([whole] * 4), losses, **known)
    assert better.tolist() == [-np.inf, -np.inf, -0.5, -0.2]
    assert no_better.tolist() == [-1.0, 0.0, -np.inf, -np.inf]


def test_heads_for_even_clusters_are_taken_if_nothing_is_gained(
    groups: np.ndarray, rows: np.ndarray
) -> None:
    neighbors = nearest_neighbors(rows, 6)[:, 1:]
    clusters = np.stack([groups] * 4)
    losses = np.array([1.0, 0.0, 0.5, 0.2])
    scores = head_scores(
        clusters, losses, neighbors=neighbors, rows=rows, groups=2, num_clusters=_CLUSTERS
    )
    assert np.isneginf(scores[2:]).all()

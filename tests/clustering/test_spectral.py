from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.clustering.spectral import spectral_clusters, spectral_embedding
from tests.algorithm.arrays import normal


def _neighbors(rows: np.ndarray, width: int = 6) -> np.ndarray:
    return nearest_neighbors(l2_normalized(rows), 1 + width)[:, 1:]


def _arcs(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Two bands that wind half around the sphere, longer than they are apart."""
    angle = np.linspace(0.0, np.pi, count)
    height = np.repeat([0.5, -0.5], count)
    turns = np.tile(angle, 2)
    rows = np.stack([np.cos(turns), np.sin(turns), height], axis=1)
    return rows.astype(np.float32), np.repeat([0, 1], count)


def _dense_embedding(neighbors: np.ndarray, count: int, regularization: float) -> np.ndarray:
    """The same in words: a dense matrix, all of its eigenvectors."""
    size = len(neighbors)
    weights = np.zeros((size, size))
    for row, found in enumerate(neighbors):
        for other in found:
            weights[row, other] += 0.5
            weights[other, row] += 0.5
    weights += regularization * weights.sum(axis=1).mean() / size
    scale = 1.0 / np.sqrt(weights.sum(axis=1))
    _, vectors = np.linalg.eigh(scale[:, None] * weights * scale[None, :])
    leading = vectors[:, -count:]
    return leading / np.linalg.norm(leading, axis=1, keepdims=True)


@given(seed=st.integers(0, 99))
def test_equals_the_dense_eigenvectors(seed: int) -> None:
    neighbors = _neighbors(normal(np.random.default_rng(seed), 30, 4))
    actual = spectral_embedding(neighbors, 3)
    expected = _dense_embedding(neighbors, 3, 0.1)
    # Eigenvectors are known up to sign and rotation: cosines between rows are not.
    np.testing.assert_allclose(actual @ actual.T, expected @ expected.T, atol=5e-3)


def test_follows_a_shape_no_prototype_covers() -> None:
    rows, bands = _arcs()
    found = spectral_clusters(_neighbors(rows, 8), 2, seed=0, num_init=4)
    assert found is not None
    assert found.shape == (4, len(rows))
    assert max(adjusted_rand_score(bands, clusters) for clusters in found) == 1.0


def test_the_same_seed_gives_the_same_clusters() -> None:
    neighbors = _neighbors(normal(np.random.default_rng(1), 50, 5))
    first, again = (spectral_clusters(neighbors, 4, seed=3, num_init=3) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first, again)


def test_a_graph_of_many_parts_has_the_same_embedding_each_time() -> None:
    # Pairs of items: the eigenvalues are all alike, and ARPACK has to draw directions of its own.
    pairs = np.arange(30).reshape(-1, 2)[:, ::-1].reshape(-1, 1)
    first, *others = [spectral_embedding(pairs, 4) for _ in range(5)]
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize(("items", "width"), [(7, 3), (20, 0)])
def test_too_little_to_go_by_gives_none(items: int, width: int) -> None:
    neighbors = np.zeros((items, width), np.int32)
    assert spectral_clusters(neighbors, 4, seed=0, num_init=2) is None


def test_more_directions_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="num_directions=5"):
        spectral_embedding(np.zeros((5, 2), np.int32), 5)

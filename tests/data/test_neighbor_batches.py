from __future__ import annotations

import numpy as np
import pytest

from spice_keras.data.feature_batches import FeatureViews
from spice_keras.data.neighbor_batches import neighbor_batches

NUM_VIEWS, NUM_SAMPLES, NUM_NEIGHBORS = 3, 20, 4


def marked_views(dtype: type = np.float32) -> FeatureViews:
    """Each row says which view and which sample it is; the views lie in two arrays."""
    view, sample = np.indices((NUM_VIEWS, NUM_SAMPLES))
    marked = np.stack([view, sample], axis=-1).astype(dtype)
    return FeatureViews([marked[:1], marked[1:]])


def ring() -> np.ndarray:
    """The neighbours of a sample are the next ones."""
    return (np.arange(NUM_SAMPLES)[:, None] + np.arange(1, NUM_NEIGHBORS + 1)) % NUM_SAMPLES


def pairs(**options: int) -> list[tuple[np.ndarray, np.ndarray]]:
    arguments = {"batch_size": 6, "seed": 0, "epochs": 1} | options
    data = neighbor_batches(marked_views(), ring(), **arguments)
    return [(batch["anchor"].numpy(), batch["neighbor"].numpy()) for batch in data]


def test_every_pair_is_of_neighbors_and_no_anchor_comes_twice_a_pass() -> None:
    batches = pairs(epochs=50)
    assert len(batches) == 50 * (NUM_SAMPLES // 6)
    for anchor, neighbor in batches:
        assert anchor.shape == neighbor.shape == (6, 2)
        assert anchor.dtype == np.float32
        distance = (neighbor[:, 1] - anchor[:, 1]) % NUM_SAMPLES
        assert set(distance) <= set(range(1, NUM_NEIGHBORS + 1))
    for epoch in range(50):
        anchors = np.concatenate([batch[0][:, 1] for batch in batches[3 * epoch : 3 * epoch + 3]])
        assert len(set(anchors)) == 18


def test_every_view_and_every_neighbor_is_equally_likely() -> None:
    batches = pairs(epochs=200)
    anchors, neighbors = (np.concatenate([batch[i] for batch in batches]) for i in range(2))
    distance = ((neighbors[:, 1] - anchors[:, 1]) % NUM_SAMPLES).astype(int)
    for values, kinds in ((anchors[:, 0], 3), (neighbors[:, 0], 3), (distance - 1, 4)):
        shares = np.bincount(values.astype(int), minlength=kinds) / len(values)
        np.testing.assert_allclose(shares, 1 / kinds, atol=0.03)
    together = np.mean(anchors[:, 0] == neighbors[:, 0])
    assert together == pytest.approx(1 / 3, abs=0.03)


def test_resumes_at_any_epoch() -> None:
    whole, end = pairs(epochs=4), pairs(first_epoch=2, epochs=2)
    for (anchor, neighbor), (same_anchor, same_neighbor) in zip(whole[6:], end, strict=True):
        np.testing.assert_array_equal(anchor, same_anchor)
        np.testing.assert_array_equal(neighbor, same_neighbor)


def test_the_seed_decides() -> None:
    one, same, other = pairs(), pairs(), pairs(seed=1)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_half_precision_views_become_float32() -> None:
    data = neighbor_batches(marked_views(np.float16), ring(), batch_size=2, seed=0, epochs=None)
    assert next(iter(data))["anchor"].dtype.name == "float32"


def test_refuses_arrays_of_different_samples() -> None:
    with pytest.raises(ValueError, match=r"views.shape=\(3, 20, 2\), neighbors.shape=\(19, 4\)"):
        neighbor_batches(marked_views(), ring()[1:], batch_size=2, seed=0)


@pytest.mark.parametrize("size", [0, 21])
def test_refuses_a_batch_that_does_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={size}"):
        neighbor_batches(marked_views(), ring(), batch_size=size, seed=0)

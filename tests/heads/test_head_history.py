"""The history of the heads: every loss, and as many clusters as fit."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.heads.selection import HeadHistory

_HEADS, _ITEMS = 2, 10


def _logits(epoch: int, num_clusters: int = 3) -> np.ndarray:
    return np.random.default_rng(epoch).normal(size=(_HEADS, _ITEMS, num_clusters))


def _record(
    history: HeadHistory,
    epoch: int,
    losses: np.ndarray,
    num_clusters: int = 3,
    *,
    best: bool = False,
) -> None:
    shape = (_HEADS, _ITEMS, num_clusters)
    clusters = _logits(epoch, num_clusters).argmax(axis=2)
    history.record(epoch, losses, lambda: clusters, shape, best=best)


def _recorded(epochs: int, max_bytes: int, num_clusters: int = 3) -> dict[str, np.ndarray]:
    history = HeadHistory(epochs, max_bytes)
    for epoch in range(epochs):
        _record(history, epoch, np.array([epoch, epoch + 0.5]), num_clusters)
    return history.arrays()


def test_every_loss_and_every_cluster_is_kept_where_they_fit() -> None:
    arrays = _recorded(4, max_bytes=4 * _HEADS * _ITEMS)
    assert arrays["epochs"].tolist() == arrays["kept"].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(arrays["losses"], [[0, 0.5], [1, 1.5], [2, 2.5], [3, 3.5]])
    assert arrays["assignments"].dtype == np.uint8
    for epoch in range(4):
        np.testing.assert_array_equal(arrays["assignments"][epoch], _logits(epoch).argmax(axis=2))


@pytest.mark.parametrize(
    ("affordable", "kept"),
    [(10, [*range(10)]), (9, [1, 3, 5, 7, 9]), (4, [0, 3, 6, 9]), (1, [9]), (0, [])],
)
def test_beyond_the_limit_epochs_are_left_out_evenly_and_never_the_last(
    affordable: int, kept: list[int]
) -> None:
    limit = affordable * _HEADS * _ITEMS
    arrays = _recorded(10, max_bytes=limit)
    assert arrays["epochs"].tolist() == [*range(10)]
    assert arrays["kept"].tolist() == kept
    assert ("assignments" in arrays) == bool(kept)
    if kept:
        assert arrays["assignments"].nbytes <= limit


def test_the_best_epoch_is_kept_beside_them() -> None:
    history = HeadHistory(10, 4 * _HEADS * _ITEMS)
    losses = np.zeros(_HEADS)
    for epoch in range(10):
        _record(history, epoch, losses, best=epoch in (1, 3, 4, 7))
        if epoch == 5:
            continued = HeadHistory(10, 4 * _HEADS * _ITEMS)
            continued.restore(history.arrays())
            assert continued.arrays()["kept"].tolist() == [0, 3, 4]
            history = continued
    arrays = history.arrays()
    assert arrays["kept"].tolist() == [0, 3, 6, 7, 9]
    np.testing.assert_array_equal(arrays["assignments"][3], _logits(7).argmax(axis=2))


def test_more_clusters_take_a_larger_type() -> None:
    arrays = _recorded(1, 10**6, num_clusters=300)
    assert arrays["assignments"].dtype == np.uint16
    np.testing.assert_array_equal(arrays["assignments"][0], _logits(0, 300).argmax(axis=2))


def test_it_goes_on_from_its_arrays() -> None:
    whole = _recorded(6, max_bytes=3 * _HEADS * _ITEMS)
    first = HeadHistory(6, 3 * _HEADS * _ITEMS)
    for epoch in range(3):
        _record(first, epoch, np.array([epoch, epoch + 0.5]))
    second = HeadHistory(6, 3 * _HEADS * _ITEMS)
    second.restore(first.arrays())
    for epoch in range(3, 6):
        _record(second, epoch, np.array([epoch, epoch + 0.5]))
    assert set(second.arrays()) == set(whole)
    for name, array in whole.items():
        np.testing.assert_array_equal(second.arrays()[name], array)


def test_nothing_recorded_is_nothing() -> None:
    history = HeadHistory(3)
    assert history.arrays() == {}
    history.restore({})
    assert history.arrays() == {}

"""Captured variance against a slow twin, and what holds of it whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.metrics import captured_variance as module
from spice_keras.metrics.captured_variance import captured_variance
from tests.reference.captured_variance import captured_variance as slow_variance


def _drawn(count: int, dim: int, kinds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    clusters = generator.integers(kinds, size=count)
    centers = generator.normal(size=(kinds, dim))
    return centers[clusters] + 0.5 * generator.normal(size=(count, dim)), clusters


@pytest.mark.parametrize(
    ("count", "dim", "kinds"),
    [(200, 60, 4), (200, 12, 5), (200, 6, 5), (40, 90, 3), (60, 9, 2), (30, 3, 7)],
)
def test_equals_its_slow_twin(count: int, dim: int, kinds: int) -> None:
    rows, clusters = _drawn(count, dim, kinds, seed=count)
    found = captured_variance(rows.astype(np.float32), clusters, kinds)
    assert found == pytest.approx(slow_variance(rows, clusters, kinds), rel=1e-4)


@given(seed=st.integers(0, 10_000), kinds=st.integers(2, 12))
def test_no_clusters_hold_more_than_the_directions_do(seed: int, kinds: int) -> None:
    rows, clusters = _drawn(80, 7, kinds, seed)
    assert 0.0 <= captured_variance(rows, clusters, kinds) <= 1.0


@given(seed=st.integers(0, 10_000))
def test_neither_turning_nor_moving_nor_scaling_changes_it(seed: int) -> None:
    rows, clusters = _drawn(80, 30, 4, seed)
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(30, 30)))
    moved = 3.0 * rows @ turned + 5.0
    assert captured_variance(moved, clusters, 4) == pytest.approx(
        captured_variance(rows, clusters, 4), rel=1e-6
    )


def test_groups_that_lie_apart_hold_nearly_all_and_drawn_ones_hardly_any() -> None:
    rows, clusters = _drawn(400, 40, 6, seed=1)
    assert captured_variance(rows, clusters, 6) > 0.9
    shuffled = np.random.default_rng(0).permutation(clusters)
    assert captured_variance(rows, shuffled, 6) < 0.1


def test_rows_that_are_all_the_same_hold_nothing() -> None:
    assert captured_variance(np.ones((50, 20)), np.arange(50) % 3, 3) == 0.0


def test_repeated_rows_are_held_whole() -> None:
    rows = np.repeat(np.eye(4, 30), 10, axis=0)
    assert captured_variance(rows, np.repeat(np.arange(4), 10), 4) == pytest.approx(1.0)


def test_of_many_rows_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, clusters = _drawn(3000, 20, 4, seed=2)
    whole = captured_variance(rows, clusters, 4)
    monkeypatch.setattr(module, "_ROWS", 1500)
    first, again, other = (captured_variance(rows, clusters, 4, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first == pytest.approx(whole, rel=0.02)

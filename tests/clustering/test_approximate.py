from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.clustering import approximate as module
from spice_keras.clustering.approximate import approximate_neighbors
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.errors import UserError
from tests.algorithm.arrays import unit_rows

pytest.importorskip("faiss", reason="the extra faiss")


def _clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit rows about thirty directions."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((30, 24))[np.arange(count) % 30]
    rows = rows + 0.5 * generator.standard_normal(rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _recall(found: np.ndarray, true: np.ndarray) -> float:
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return sum(len(set(a) & set(b)) for a, b in pairs) / true.size


@settings(max_examples=20)
@given(num_samples=st.integers(1, 400), data=st.data(), seed=st.integers(0, 99))
def test_with_all_cells_probed_it_is_exact(
    num_samples: int, data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, min(num_samples, 20)))
    embeddings = unit_rows(np.random.default_rng(seed), num_samples, 6)
    found = approximate_neighbors(embeddings, count, num_probes=1000)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, nearest_neighbors(embeddings, count))


def test_more_probes_find_more() -> None:
    embeddings = _clustered(6000)
    true = nearest_neighbors(embeddings, 50)
    recalls = [
        _recall(approximate_neighbors(embeddings, 50, num_probes=probes), true)
        for probes in (1, 4, 32)
    ]
    assert recalls[0] < recalls[1] < recalls[2]
    assert recalls[2] > 0.95


@pytest.mark.parametrize("rows_at_a_time", [17, 16_384])
def test_rows_are_full_distinct_and_led_by_themselves(
    rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where one cell holds fewer than are asked for, and among exact duplicates."""
    monkeypatch.setattr(module, "_ROWS", rows_at_a_time)
    embeddings = np.repeat(_clustered(300), 4, axis=0)
    found = approximate_neighbors(embeddings, 200, num_probes=1)
    np.testing.assert_array_equal(found[:, 0], np.arange(1200))
    assert found.min() >= 0
    assert found.max() < 1200
    assert all(len(set(row)) == 200 for row in found.tolist())


def test_same_seed_same_neighbors() -> None:
    embeddings = _clustered(3000)
    first, again, other = (
        approximate_neighbors(embeddings, 30, num_probes=2, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'spice-keras\[faiss\]'"):
        approximate_neighbors(_clustered(10), 2)


@pytest.mark.parametrize(
    ("count", "num_probes", "message"),
    [(0, 1, "num_neighbors=0"), (11, 1, "num_neighbors=11"), (2, 0, "num_probes=0")],
)
def test_refuses_what_cannot_be(count: int, num_probes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        approximate_neighbors(_clustered(10), count, num_probes=num_probes)


def test_refuses_nan() -> None:
    embeddings = _clustered(10)
    embeddings[3, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        approximate_neighbors(embeddings, 2)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.clustering import approximate as module
from spice_keras.clustering import cells as cells_module
from spice_keras.clustering.approximate import approximate_neighbors, found_share, neighbor_search
from spice_keras.clustering.cells import cut_into_cells
from spice_keras.clustering.neighbors import exact_seconds, nearest_neighbors, neighbors_of
from spice_keras.options import Search
from tests.algorithm.arrays import unit_rows


def _clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit rows about thirty directions."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((30, 24))[np.arange(count) % 30]
    rows = rows + 0.5 * generator.standard_normal(rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=20)
@given(
    num_samples=st.integers(1, 400),
    rows_per_cell=st.integers(1, 50),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_with_all_cells_probed_it_is_exact(
    num_samples: int, rows_per_cell: int, data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, min(num_samples, 20)))
    embeddings = unit_rows(np.random.default_rng(seed), num_samples, 6)
    cells = cut_into_cells(embeddings, seed=seed, rows_per_cell=rows_per_cell)
    found = cells.neighbors(count, num_probes=len(cells))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, nearest_neighbors(embeddings, count))


def test_every_row_lies_in_the_cell_of_its_nearest_center() -> None:
    rows = _clustered(3000)
    cells = cut_into_cells(rows, seed=0, rows_per_cell=50)
    assert len(cells) == 60
    assert cells.sizes().sum() == 3000
    np.testing.assert_array_equal(np.sort(cells.order), np.arange(3000))
    assert np.shares_memory(cells.rows, rows), "a copy of the rows would double the memory"
    np.testing.assert_allclose(np.linalg.norm(cells.centers, axis=1), 1.0, rtol=1e-5)
    cosines = rows @ cells.centers.T
    chosen = cosines[np.arange(3000), cells.cell_of]
    np.testing.assert_allclose(chosen, cosines.max(axis=1), atol=1e-6)
    of_order = np.repeat(np.arange(len(cells)), cells.sizes())
    np.testing.assert_array_equal(cells.cell_of[cells.order], of_order)


@pytest.mark.parametrize("recall", [0.5, 0.8, 0.95])
def test_as_few_cells_are_probed_as_find_what_was_asked(recall: float) -> None:
    rows = _clustered(6000)
    cells = cut_into_cells(rows, seed=0, rows_per_cell=40)
    samples = np.arange(0, 6000, 3)
    true = neighbors_of(rows, samples, 40)
    probes = cells.probes_for(recall, samples, true)
    assert 1 < probes < len(cells)
    reached, with_fewer = (
        found_share(cells.neighbors(40, p)[samples], true) for p in (probes, probes - 1)
    )
    assert reached >= recall > with_fewer


def test_the_recall_that_is_told_is_that_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEASURED", 500)
    rows, told = _clustered(6000), list[str]()
    found = approximate_neighbors(rows, 50, recall=0.9, tell=told.append)
    recall = found_share(found, nearest_neighbors(rows, 50))
    assert recall > 0.88
    (sentence,) = told
    assert "measured on 500 items" in sentence
    said = float(sentence.split("% of the true ones")[0].rsplit(" ", 1)[1]) / 100
    assert abs(said - recall) < 0.03
    np.testing.assert_array_equal(found[:, 0], np.arange(6000))


def test_rows_are_full_distinct_and_led_by_themselves() -> None:
    """Even where one cell holds fewer than are asked for, and among exact duplicates."""
    embeddings = np.repeat(_clustered(300), 4, axis=0)
    found = cut_into_cells(embeddings, seed=0, rows_per_cell=30).neighbors(200, num_probes=1)
    np.testing.assert_array_equal(found[:, 0], np.arange(1200))
    assert found.min() >= 0
    assert found.max() < 1200
    assert all(len(set(row)) == 200 for row in found.tolist())


def test_rows_without_groups_are_searched_exactly() -> None:
    rows, told = unit_rows(np.random.default_rng(0), 2000, 64), list[str]()
    found = approximate_neighbors(rows, 20, recall=0.99, tell=told.append)
    np.testing.assert_array_equal(found, nearest_neighbors(rows, 20))
    assert "so the search is exact" in told[0]


def test_same_seed_same_neighbors() -> None:
    embeddings = _clustered(3000)
    first, again, other = (
        approximate_neighbors(embeddings, 30, recall=0.5, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_auto_is_exact_until_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, told = _clustered(3000), list[str]()
    exact = nearest_neighbors(rows, 30)

    def searched(kind: Search) -> np.ndarray:
        return neighbor_search(kind, recall=0.5, tell=told.append)(rows, 30)

    np.testing.assert_array_equal(searched("exact"), exact)
    np.testing.assert_array_equal(searched("auto"), exact)
    assert told == []
    monkeypatch.setattr(module, "LONGEST_EXACT_SECONDS", 0.9 * exact_seconds(*rows.shape))
    np.testing.assert_array_equal(searched("auto"), searched("approximate"))
    assert "embed.neighbor_search=exact" in told[0]
    assert "of the true ones found" in told[1]
    assert found_share(searched("auto"), exact) < 1.0


def test_the_estimate_of_the_exact_search_grows_with_the_pairs() -> None:
    assert exact_seconds(200_000, 128) == pytest.approx(4 * exact_seconds(100_000, 128))
    assert exact_seconds(1000, 64) < exact_seconds(1000, 65)


def test_the_share_found_ignores_the_order() -> None:
    true = np.array([[0, 1, 2], [1, 0, 2]])
    assert found_share(np.array([[0, 2, 1], [1, 2, 3]]), true) == pytest.approx(5 / 6)
    assert found_share(true, true) == 1.0


@pytest.mark.parametrize(
    ("count", "recall", "message"),
    [(0, 0.9, "num_neighbors=0"), (11, 0.9, "num_neighbors=11"), (2, 0.0, "recall=0.0"),
     (2, 1.1, "recall=1.1"), (2, float("nan"), "recall=nan")],
)  # fmt: skip
def test_refuses_what_cannot_be(count: int, recall: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        approximate_neighbors(_clustered(10), count, recall=recall)


def test_refuses_nan() -> None:
    embeddings = _clustered(10)
    embeddings[3, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        approximate_neighbors(embeddings, 2)


def test_means_of_some_cells_at_a_time_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _clustered(2000)
    whole = cut_into_cells(rows, seed=0, rows_per_cell=40)
    monkeypatch.setattr(cells_module, "_MEANS", 7)
    parts = cut_into_cells(rows, seed=0, rows_per_cell=40)
    np.testing.assert_array_equal(parts.centers, whole.centers)
    np.testing.assert_array_equal(parts.order, whole.order)

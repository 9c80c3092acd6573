from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.clustering import neighbors as module
from spice_keras.clustering.neighbors import (
    euclidean_neighbors,
    largest_of_rows,
    nearest_neighbors,
)
from tests.algorithm.arrays import unit_rows
from tests.reference import neighbors as reference


@given(
    num_samples=st.integers(1, 14),
    block_size=st.integers(1, 16),
    data=st.data(),
    seed=st.integers(0, 999),
)
def test_equals_sorting_all_cosines(
    num_samples: int, block_size: int, data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, num_samples))
    embeddings = unit_rows(np.random.default_rng(seed), num_samples, 6)
    actual = nearest_neighbors(embeddings, count, block_size)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, reference.nearest_neighbors(embeddings, count))


@given(num_samples=st.integers(1, 14), block_size=st.integers(1, 16), seed=st.integers(0, 999))
def test_equals_sorting_all_distances(num_samples: int, block_size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = 3.0 * generator.standard_normal((num_samples, 6)) + 50.0
    features = features.astype(np.float32)
    count = int(generator.integers(1, num_samples + 1))
    actual = euclidean_neighbors(features, count, block_size)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, reference.euclidean_neighbors(features, count))


def test_distances_refuse_what_cosines_refuse() -> None:
    with pytest.raises(ValueError, match="num_neighbors=4"):
        euclidean_neighbors(np.zeros((3, 2), np.float32), 4)
    with pytest.raises(ValueError, match="finite"):
        euclidean_neighbors(np.full((3, 2), np.nan, np.float32), 2)


@given(block_size=st.integers(1, 40), seed=st.integers(0, 999))
def test_self_is_first_and_twins_next_among_exact_duplicates(block_size: int, seed: int) -> None:
    distinct = unit_rows(np.random.default_rng(seed), 5, 7)
    embeddings = distinct[np.arange(30) % 5]
    neighbors = nearest_neighbors(embeddings, 6, block_size)
    np.testing.assert_array_equal(neighbors[:, 0], np.arange(30))
    # All six copies of a point are its six nearest, each once.
    np.testing.assert_array_equal(neighbors % 5, np.repeat(np.arange(30)[:, None] % 5, 6, axis=1))
    assert all(len(set(row)) == 6 for row in neighbors.tolist())


@given(seed=st.integers(0, 999))
def test_equivariant_to_the_order_of_samples(seed: int) -> None:
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, 12, 6)
    order = generator.permutation(12)
    permuted = nearest_neighbors(embeddings[order], 5)
    np.testing.assert_array_equal(order[permuted], nearest_neighbors(embeddings, 5)[order])


def test_self_is_first_even_for_a_zero_vector() -> None:
    embeddings = np.concatenate([unit_rows(np.random.default_rng(0), 4, 3), np.zeros((1, 3))])
    np.testing.assert_array_equal(nearest_neighbors(embeddings, 3)[:, 0], np.arange(5))


def test_never_holds_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    product = tf.matmul

    def spy(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        compared.append((len(rows), columns.shape[1]))
        return product(rows, columns)

    monkeypatch.setattr(tf, "matmul", spy)
    embeddings = unit_rows(np.random.default_rng(0), 3000, 8)
    tracemalloc.start()
    nearest_neighbors(embeddings, 10, block_size=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(compared) == [(56, 3000)] + [(64, 3000)] * 46
    assert peak < 4 * 3000**2 / 4


@given(
    num_columns=st.integers(1, 200),
    levels=st.sampled_from([1, 3, 50, 10**6]),
    data=st.data(),
    seed=st.integers(0, 999),
)
def test_selects_what_top_k_does_ties_included(
    num_columns: int, levels: int, data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, num_columns))
    drawn = np.random.default_rng(seed).integers(-levels, levels, (5, num_columns))
    values = (drawn / levels).astype(np.float32)
    found = largest_of_rows(values, count)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, tf.math.top_k(values, k=count).indices)


@pytest.mark.parametrize("order", ["sorted", "reversed", "equal"])
def test_selects_in_whatever_order_the_columns_come(order: str) -> None:
    values = np.random.default_rng(0).standard_normal((4, 5000)).astype(np.float32)
    values.sort(axis=1)
    values = {"sorted": values, "reversed": values[:, ::-1], "equal": np.ones_like(values)}[order]
    expected = tf.math.top_k(values, k=20).indices
    np.testing.assert_array_equal(largest_of_rows(values, 20), expected)


def test_blocks_of_its_own_choice_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = unit_rows(np.random.default_rng(0), 50, 8)
    expected = nearest_neighbors(embeddings, 7, block_size=1)
    np.testing.assert_array_equal(nearest_neighbors(embeddings, 7), expected)
    monkeypatch.setattr(module, "_SMALLEST_BLOCK", 3)
    monkeypatch.setattr(module, "_SIMILARITIES", 150)
    np.testing.assert_array_equal(nearest_neighbors(embeddings, 7), expected)


@given(num_samples=st.integers(1, 30), part=st.integers(1, 12), seed=st.integers(0, 999))
def test_rows_looked_at_a_part_at_a_time_give_the_same(
    num_samples: int, part: int, seed: int
) -> None:
    embeddings = unit_rows(np.random.default_rng(seed), num_samples, 8)
    count = 1 + seed % num_samples
    expected = nearest_neighbors(embeddings, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COPIED", 4 * 8 * part)
        np.testing.assert_array_equal(nearest_neighbors(embeddings, count), expected)


def test_self_is_kept_where_its_duplicates_fill_every_place() -> None:
    neighbors = nearest_neighbors(np.tile(np.eye(4)[:1], (9, 1)), 3)
    np.testing.assert_array_equal(neighbors[:, 0], np.arange(9))
    assert all(len(set(row)) == 3 for row in neighbors.tolist())


@pytest.mark.parametrize("count", [0, 5])
def test_refuses_a_number_of_neighbors_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=f"Received: num_neighbors={count}, num_samples=4"):
        nearest_neighbors(np.eye(4, dtype=np.float32), count)


def test_refuses_bad_embeddings_and_blocks() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest_neighbors(np.array([[1.0, np.nan], [0.0, 1.0]]), 1)
    with pytest.raises(ValueError, match=r"Received: shape=\(3,\)"):
        nearest_neighbors(np.zeros(3), 1)
    with pytest.raises(ValueError, match="Received: block_size=0"):
        nearest_neighbors(np.eye(3), 1, block_size=0)

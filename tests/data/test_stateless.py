from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from spice_keras.data.stateless import (
    balanced_draw,
    proportional_draw,
    shuffled_rows,
    step_seed,
    uniform_draw,
)


def rows(step: int, num_rows: int, batch_size: int, seed: int = 0, stream: str = "s") -> list[int]:
    step_tensor = tf.constant(step, tf.int64)
    drawn = shuffled_rows(step_tensor, num_rows, batch_size, seed=seed, stream=stream)
    assert drawn.dtype == tf.int64
    return drawn.numpy().tolist()


@given(num_rows=st.integers(1, 300), seed=st.integers(-(2**31), 2**32 - 1), epoch=st.integers(0, 9))
@settings(max_examples=20)
def test_a_pass_of_one_batch_is_a_permutation(num_rows: int, seed: int, epoch: int) -> None:
    assert sorted(rows(epoch, num_rows, num_rows, seed)) == list(range(num_rows))


@given(num_rows=st.integers(2, 60), data=st.data())
@settings(max_examples=10)
def test_batches_of_a_pass_share_no_row(num_rows: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, num_rows))
    steps = num_rows // batch_size
    first = 3 * steps
    seen = [row for step in range(first, first + steps) for row in rows(step, num_rows, batch_size)]
    assert len(set(seen)) == steps * batch_size
    assert set(seen) <= set(range(num_rows))


def test_passes_seeds_and_streams_differ() -> None:
    orders = [rows(epoch, 50, 50) for epoch in range(600)]
    orders += [rows(0, 50, 50, seed=1), rows(0, 50, 50, stream="t")]
    # 600, because a key cut to one byte would repeat after 256 passes.
    assert len({tuple(order) for order in orders}) == 602


@pytest.mark.parametrize("num_rows", [100, 3000, 50_000])
def test_neighbours_meet_as_often_as_chance_has_it(num_rows: int) -> None:
    # Folders list a class in one run, so neighbours that shun each other would unbalance batches.
    batch_size, met, pairs = num_rows // 20, 0, 0
    for epoch in range(30):
        order = np.array(rows(epoch, num_rows, num_rows))
        batch = np.empty(num_rows, int)
        batch[order] = np.arange(num_rows) // batch_size
        for distance in (1, 2, 4, 8, 16):
            met += int((batch[distance:] == batch[:-distance]).sum())
            pairs += num_rows - distance
    chance = (batch_size - 1) / (num_rows - 1)
    spread = 5 * np.sqrt(chance / pairs)
    assert abs(met / pairs - chance) < spread


def test_seeds_hang_on_every_part() -> None:
    def key(seed: int, stream: str, step: int) -> tuple[int, ...]:
        value = step_seed(seed, stream, tf.constant(step, tf.int64))
        assert value.dtype == tf.int32
        assert value.shape == [2]
        return tuple(value.numpy().tolist())

    keys = [key(s, n, k) for s in (-1, 0, 1, 2**40) for n in ("a", "b") for k in (0, 1, 10**9)]
    assert len(set(keys[:18])) == 18
    assert key(1, "a", 3) == key(1, "a", 3)


def test_balanced_draw_takes_clusters_in_turn() -> None:
    starts, counts = np.array([0, 1, 4]), np.array([1, 3, 96])
    drawn = np.concatenate(
        [
            balanced_draw(tf.constant(s, tf.int64), 7, seed=0, starts=starts, counts=counts)
            for s in range(600)
        ]
    )
    cluster = np.searchsorted(starts, drawn, side="right") - 1
    assert np.bincount(cluster).tolist() == [1400, 1400, 1400]
    members = np.bincount(drawn, minlength=100)
    assert members[0] == 1400
    np.testing.assert_allclose(members[1:4], 1400 / 3, rtol=0.2)
    assert (members[4:] > 0).all()


def test_uniform_draw_takes_every_place_alike() -> None:
    starts, counts = np.array([0, 1, 4]), np.array([1, 3, 6])
    drawn = np.concatenate(
        [
            uniform_draw(tf.constant(s, tf.int64), 50, seed=0, starts=starts, counts=counts)
            for s in range(100)
        ]
    )
    np.testing.assert_allclose(np.bincount(drawn, minlength=10), 500, rtol=0.2)


def test_proportional_draw_takes_clusters_as_often_as_they_are_large() -> None:
    starts, counts, shares = np.array([0, 1, 4]), np.array([1, 3, 6]), np.array([2.0, 5.0, 1.0])
    drawn = np.concatenate(
        [
            proportional_draw(
                tf.constant(s, tf.int64), 50, seed=0, starts=starts, counts=counts, shares=shares
            )
            for s in range(160)
        ]
    )
    expected = 1000 * np.repeat(shares / counts, counts)
    np.testing.assert_allclose(np.bincount(drawn, minlength=10), expected, rtol=0.25)


def test_proportional_draw_takes_places_of_a_cluster_alike_and_never_beyond() -> None:
    starts, counts, shares = np.array([0, 2]), np.array([2, 4]), np.array([1e-9, 1.0])
    drawn = proportional_draw(
        tf.constant(3, tf.int64), 4000, seed=1, starts=starts, counts=counts, shares=shares
    ).numpy()
    assert drawn.dtype == np.int64
    np.testing.assert_allclose(np.bincount(drawn, minlength=6)[2:], 1000, rtol=0.15)
    assert set(drawn.tolist()) == {2, 3, 4, 5}

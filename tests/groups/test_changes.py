from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.groups import changes as module
from spice_keras.groups.changes import Part, Split, cluster_changes

pairs = st.integers(1, 30).flatmap(
    lambda size: st.tuples(*2 * [st.lists(st.integers(0, 5), min_size=size, max_size=size)])
)


def test_a_split_and_its_reverse_are_told_alike() -> None:
    coarse = np.repeat([0, 1, 2], [10, 20, 5])
    fine = np.repeat([3, 0, 1, 2], [10, 12, 8, 5])
    expected = Split(1, 20, (Part(0, 12), Part(1, 8)))
    for changes in (cluster_changes(coarse, fine), cluster_changes(fine, coarse)):
        assert (changes.coarse, changes.fine) == (3, 4)
        assert changes.splits == (expected,)
        assert changes.dissolved == ()
        assert changes.moved_items == 0


def test_items_that_move_and_a_cluster_that_is_shared_out() -> None:
    coarse = np.repeat([0, 1, 2], [10, 10, 4])
    fine = coarse.copy()
    fine[:3] = 1  # three leave for another cluster
    fine[5:10] = 2  # five become a cluster of their own, with two of the third
    fine[20:24] = [2, 2, 1, 1]
    fine[18:20] = 3
    changes = cluster_changes(coarse, fine)
    assert changes.dissolved == (2,)
    assert [split.cluster for split in changes.splits] == [0, 1]
    assert changes.moved_items == 3 + 2 + 2


@given(pair=pairs)
def test_every_fine_cluster_has_one_origin(pair: tuple[list[int], list[int]]) -> None:
    changes = cluster_changes(*pair)
    assert changes.coarse <= changes.fine
    parts = [part for split in changes.splits for part in split.parts]
    assert len({part.cluster for part in parts}) == len(parts)
    whole = changes.coarse - len(changes.splits) - len(changes.dissolved)
    assert whole + len(parts) == changes.fine
    assert 0 <= changes.moved_items < len(pair[0])


@given(pair=pairs)
def test_merging_moves_nothing(pair: tuple[list[int], list[int]]) -> None:
    fine = np.array(pair[0])
    assert cluster_changes(fine, fine // 2).moved_items == 0


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0

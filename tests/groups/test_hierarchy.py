from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.groups import hierarchy as module
from spice_keras.groups.hierarchy import merge_clusters
from spice_keras.metrics.clustering import contingency
from tests.reference import hierarchy as reference


def drawn_graph(seed: int, num_items: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    clusters = generator.integers(0, 6, num_items)
    steps = generator.integers(1, num_items, (num_items, 4))
    return clusters, (np.arange(num_items)[:, np.newaxis] + steps) % num_items


@given(seed=st.integers(0, 500))
def test_each_merge_is_of_the_groups_that_the_slow_twin_finds_closest(seed: int) -> None:
    clusters, neighbors = drawn_graph(seed)
    tree, links = merge_clusters(clusters, neighbors), neighbors.tolist()
    groups = {c: np.flatnonzero(clusters == c).tolist() for c in np.unique(clusters).tolist()}
    for number, merge in enumerate(tree.merges):
        closest = reference.largest_lift(list(groups.values()), links)
        first, second = groups.pop(merge.first), groups.pop(merge.second)
        assert merge.lift == pytest.approx(float(closest))
        assert reference.lift(first, second, links) == closest
        assert merge.num_items == len(first + second)
        groups[len(tree.sizes) + number] = first + second
    assert len(groups) == 1


@given(seed=st.integers(0, 500), groups=st.integers(1, 5))
def test_a_cut_only_joins_clusters(seed: int, groups: int) -> None:
    clusters, neighbors = drawn_graph(seed)
    tree = merge_clusters(clusters, neighbors)
    groups = min(groups, tree.num_clusters)
    coarse = tree.cut(groups)[clusters]
    assert sorted(np.unique(coarse)) == list(range(groups))
    assert (np.count_nonzero(contingency(clusters, coarse), axis=1) <= 1).all()
    if groups > 1:  # the next cut joins two of these groups
        coarser = tree.cut(groups - 1)[clusters]
        parts = np.count_nonzero(contingency(coarse, coarser), axis=0)
        assert sorted(parts) == [1] * (groups - 2) + [2]


def test_groups_that_are_linked_merge_first() -> None:
    clusters = np.repeat(np.arange(6), 10)  # 0+1, 2+3 and 4+5 belong together
    generator = np.random.default_rng(0)
    near = clusters[:, np.newaxis] // 2 * 20 + generator.integers(0, 20, (60, 6))
    tree = merge_clusters(clusters, near)
    assert tree.cut(3).tolist() == [0, 0, 1, 1, 2, 2]
    assert tree.cut(6).tolist() == list(range(6))
    assert tree.cut(1).tolist() == [0] * 6
    assert [merge.lift for merge in tree.merges[3:]] == [0.0, 0.0]
    assert tree.merges[-1].num_items == 60


def test_an_empty_cluster_takes_no_part() -> None:
    clusters, neighbors = drawn_graph(3)
    shifted = np.where(clusters >= 2, clusters + 1, clusters)
    tree = merge_clusters(shifted, neighbors, num_clusters=9)
    assert tree.sizes[[2, 7, 8]].tolist() == [0, 0, 0]
    assert tree.cut(4)[[2, 7, 8]].tolist() == [-1, -1, -1]
    plain = merge_clusters(clusters, neighbors)
    assert (tree.cut(4)[shifted] == plain.cut(4)[clusters]).all()
    assert sorted(tree.leaf_order()) == [0, 1, 3, 4, 5, 6]


def test_merges_do_not_cross_when_drawn() -> None:
    clusters, neighbors = drawn_graph(5)
    tree = merge_clusters(clusters, neighbors)
    for groups in range(1, 7):
        in_order = tree.cut(groups)[tree.leaf_order()]
        assert np.count_nonzero(np.diff(in_order)) == groups - 1


@pytest.mark.parametrize("groups", [0, 7, -1])
def test_refuses_to_split(groups: int) -> None:
    tree = merge_clusters(*drawn_graph(0))
    with pytest.raises(UserError, match=f"between 1 and 6 groups.*Received: {groups}"):
        tree.cut(groups)


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0

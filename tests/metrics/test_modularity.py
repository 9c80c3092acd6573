from __future__ import annotations

import doctest
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.metrics import modularity as module
from spice_keras.metrics.modularity import coding_length, modularity, relative_modularity
from tests.reference import modularity as reference

Figure = Callable[[npt.ArrayLike, np.ndarray], float]
every_figure = pytest.mark.parametrize("figure", [modularity, coding_length])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """Clusters of 2 to 12 items, and 1 to 3 neighbours of each, itself not among them."""
    count = draw(st.integers(2, 12))
    width = draw(st.integers(1, min(3, count - 1)))
    clusters = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    rows = [
        draw(st.permutations([other for other in range(count) if other != item]))[:width]
        for item in range(count)
    ]
    return clusters, rows


@given(graph=graphs())
def test_as_counted_link_by_link(graph: tuple[list[int], list[list[int]]]) -> None:
    clusters, neighbors = graph
    array = np.array(neighbors)
    assert modularity(clusters, array) == pytest.approx(reference.modularity(*graph), abs=1e-12)
    relative = reference.modularity(*graph) / reference.largest_modularity(5)
    assert relative_modularity(clusters, array, 5) == pytest.approx(relative, abs=1e-12)
    assert coding_length(clusters, array) == pytest.approx(reference.coding_length(*graph))


@every_figure
@given(graph=graphs(), seed=st.integers(0, 99))
def test_names_and_order_do_not_matter(
    figure: Figure, graph: tuple[list[int], list[list[int]]], seed: int
) -> None:
    clusters, neighbors = (np.array(one) for one in graph)
    generator = np.random.default_rng(seed)
    expected = pytest.approx(figure(clusters, neighbors), abs=1e-12)
    assert figure(generator.permutation(9)[clusters], neighbors) == expected
    order = generator.permutation(len(clusters))
    places = np.argsort(order)
    assert figure(clusters[order], places[neighbors[order]]) == expected


@given(graph=graphs())
def test_bounds(graph: tuple[list[int], list[list[int]]]) -> None:
    clusters, neighbors = graph
    value = modularity(clusters, np.array(neighbors))
    assert type(value) is float
    assert -1.0 <= value < 1.0
    used = len(np.unique(clusters))
    if used > 1:
        relative = relative_modularity(
            np.unique(clusters, return_inverse=True)[1], np.array(neighbors), used
        )
        assert relative <= 1.0 + 1e-12


@given(graph=graphs())
def test_one_cluster_explains_nothing(graph: tuple[list[int], list[list[int]]]) -> None:
    _, neighbors = graph
    alone = np.zeros(len(neighbors), int)
    assert modularity(alone, np.array(neighbors)) == pytest.approx(0.0, abs=1e-12)
    assert coding_length(alone, np.array(neighbors)) == pytest.approx(math.log2(len(neighbors)))


def test_true_groups_are_best_and_random_ones_worth_nothing() -> None:
    groups = np.repeat(np.arange(4), 25)
    generator = np.random.default_rng(0)
    neighbors = groups[:, np.newaxis] * 25 + generator.integers(0, 25, (100, 5))
    halved = groups * 2 + np.arange(100) % 2
    assert modularity(groups, neighbors) == pytest.approx(0.75)
    assert modularity(groups // 2, neighbors) == pytest.approx(0.5)
    assert modularity(halved, neighbors) < 0.5
    # Groups that are left together lose modularity, but nothing of what two clusters can have.
    assert relative_modularity(groups, neighbors, 4) == pytest.approx(1.0)
    assert relative_modularity(groups // 2, neighbors, 2) == pytest.approx(1.0)
    assert relative_modularity(halved, neighbors, 8) < 0.6
    drawn = generator.integers(0, 4, 100)
    assert modularity(drawn, neighbors) == pytest.approx(0.0, abs=0.05)
    assert coding_length(groups, neighbors) < coding_length(groups // 2, neighbors)
    assert coding_length(groups, neighbors) < coding_length(drawn, neighbors)


@every_figure
@pytest.mark.parametrize(
    ("clusters", "shape"), [([0, 1], (3, 1)), ([], (0, 1)), ([[0, 1]], (1, 2)), ([0, 1], (2, 0))]
)
def test_refuses_what_does_not_fit(
    figure: Figure, clusters: npt.ArrayLike, shape: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="at least one neighbour"):
        figure(clusters, np.zeros(shape, int))


@pytest.mark.parametrize(("clusters", "num_clusters"), [([0, 0], 1), ([0, 3], 3)])
def test_refuses_too_few_clusters(clusters: list[int], num_clusters: int) -> None:
    with pytest.raises(ValueError, match=f"num_clusters={num_clusters}"):
        relative_modularity(clusters, np.array([[1], [0]]), num_clusters)


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0

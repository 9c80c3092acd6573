from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from spice_keras.metrics.cluster_links import cluster_links
from tests.reference.cluster_links import cluster_links as slow_cluster_links

_CLUSTERS = 4


@st.composite
def _drawn(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 12))
    ids = st.integers(0, _CLUSTERS - 1)
    clusters = draw(hnp.arrays(np.int64, count, elements=ids))
    neighbors = draw(hnp.arrays(np.int64, (count, 3), elements=st.integers(0, count - 1)))
    heads = draw(hnp.arrays(np.int64, (draw(st.integers(0, 3)), count), elements=ids))
    return clusters, neighbors, heads


@given(_drawn())
def test_the_figures_are_those_of_the_slow_twin(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    found = cluster_links(*drawn, _CLUSTERS)
    expected = slow_cluster_links(*(array.tolist() for array in drawn), _CLUSTERS)
    for cluster, figures in enumerate(expected):
        for name in ("kept", "mixed_share", "stability", "split_share"):
            value = getattr(found, name)[cluster]
            if figures is None or figures[name] is None:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(figures[name])


def test_a_cluster_mixes_with_the_one_its_members_have_neighbours_in() -> None:
    clusters = np.array([0, 0, 1, 1, 2])
    neighbors = np.array([[1], [2], [3], [2], [4]])
    found = cluster_links(clusters, neighbors, np.empty((0, 5), int), 4)
    assert found.mixes_with.tolist() == [1, -1, -1, -1]
    assert found.kept.tolist()[:3] == [0.5, 1.0, 1.0]


def test_arrays_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"heads.shape=\(1, 4\)"):
        cluster_links(np.zeros(5, int), np.zeros((5, 1), int), np.zeros((1, 4), int), 2)

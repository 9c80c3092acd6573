from __future__ import annotations

import re

import pytest

from spice_keras.report.palette import cluster_colors


@pytest.mark.parametrize("num_clusters", [0, 1, 10, 11, 20, 200])
def test_every_cluster_has_a_valid_colour_of_its_own(num_clusters: int) -> None:
    colors = cluster_colors(num_clusters)
    assert len(set(colors)) == len(colors) == num_clusters
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)

from __future__ import annotations

import numpy as np

from spice_keras.report.map_groups import map_groups
from spice_keras.report.palette import cluster_colors
from tests.report.run_data import report_data


def test_without_labels_the_groups_are_the_clusters() -> None:
    data = report_data(map_labels=None)
    groups = map_groups(data)
    np.testing.assert_array_equal(groups.values, data.clusters)
    assert list(groups.colors) == cluster_colors(data.num_clusters)
    assert groups.names is None
    assert groups.titles[0] == "all 60 images"
    assert groups.titles[1] == f"the {data.reliable.sum()} reliable ones"


def test_a_class_has_the_colour_of_its_cluster() -> None:
    data = report_data(matching={3: 0, 1: 2})
    colors = cluster_colors(4)
    found = list(map_groups(data).colors)
    assert (found[0], found[2]) == (colors[3], colors[1])
    assert found[1] in {colors[0], colors[2]}
    assert map_groups(data).names == ["cat", "dog", "owl"]


def test_the_titles_state_the_accuracy_of_the_points_with_a_class() -> None:
    clusters = np.array([0, 0, 1, 1, 2, 3] * 10, np.int32)
    labels = np.array([0, 1, 1, 1, -1, 2] * 10)
    reliable = np.array([True, False, True, True, True, False] * 10)
    data = report_data(
        clusters=clusters, map_labels=labels, reliable=reliable, matching={0: 0, 1: 1, 2: 2}
    )
    all_points, sure = map_groups(data).titles
    assert all_points == "all 60 images, ACC 0.600"  # of the five with a class, three
    assert sure == "the 40 reliable ones, ACC 1.000"


def test_more_classes_than_clusters_have_colours_too() -> None:
    names = [f"class {number}" for number in range(12)]
    confusion = np.zeros((12, 4), np.int64)
    groups = map_groups(report_data(class_names=names, confusion=confusion, matching={0: 11, 1: 3}))
    assert len(set(groups.colors)) == 12

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from spice_keras.report.data import ReportData
from spice_keras.report.embedding_map import (
    MapGroups,
    embedding_map_figure,
    map_groups,
    reliable_map_figure,
    trust_map_figure,
)
from spice_keras.report.palette import cluster_colors, marker
from spice_keras.words.naming import ClusterName
from tests.report.run_data import label_free, report_data


def groups_of(data: ReportData) -> MapGroups:
    return map_groups(data.embedding_map.indices, data.clustering, data.classes, "image")


def test_without_labels_the_groups_are_the_clusters() -> None:
    data = label_free()
    groups = groups_of(data)
    np.testing.assert_array_equal(groups.values, data.clustering.clusters)
    assert list(groups.colors) == cluster_colors(data.clustering.num_clusters)
    assert list(groups.names) == ["0", "1", "2", "3"]
    assert list(groups.shapes) == [marker(cluster) for cluster in range(4)]
    assert not groups.are_classes
    assert groups.titles[0] == "all 60 images"
    assert groups.titles[1] == f"the {data.clustering.reliable.sum()} reliable ones"


def test_a_class_has_the_colour_of_its_cluster() -> None:
    data = report_data(matching={3: 0, 1: 2})
    colors = cluster_colors(4)
    found = list(groups_of(data).colors)
    assert (found[0], found[2]) == (colors[3], colors[1])
    assert found[1] in {colors[0], colors[2]}
    assert list(groups_of(data).names) == [
        "cat: cluster 3",
        "dog: no cluster",
        "owl: cluster 1",
    ]
    shapes = groups_of(data).shapes
    assert (shapes[0], shapes[2]) == (marker(3), marker(1))


def test_the_legend_knows_the_names_of_the_clusters() -> None:
    names = [ClusterName("tench"), ClusterName(None, reason="none fits")] * 2
    data = label_free(cluster_names=names, words_from="a list")
    assert list(groups_of(data).names) == ["0 tench", "1", "2 tench", "3"]


def test_the_titles_state_the_accuracy_of_the_points_with_a_class() -> None:
    clusters = np.array([0, 0, 1, 1, 2, 3] * 10, np.int32)
    labels = np.array([0, 1, 1, 1, -1, 2] * 10)
    reliable = np.array([True, False, True, True, True, False] * 10)
    data = report_data(
        clusters=clusters, labels=labels, reliable=reliable, matching={0: 0, 1: 1, 2: 2}
    )
    all_points, sure = groups_of(data).titles
    assert all_points == "all 60 images, ACC 0.600"  # of the five with a class, three
    assert sure == "the 40 reliable ones, ACC 1.000"


def test_more_classes_than_clusters_have_colours_too() -> None:
    names = [f"class {number}" for number in range(12)]
    confusion = np.zeros((12, 4), np.int64)
    groups = groups_of(report_data(names=names, confusion=confusion, matching={0: 11, 1: 3}))
    assert len(set(groups.colors)) == 12


def test_maps_draw_every_point_and_number_every_cluster() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    clusters = np.repeat([0, 2], 15)
    figure = embedding_map_figure(points, clusters, ["0", "1", "2 owl"])
    axes = figure.axes[0]
    assert [np.shape(drawn.get_offsets())[0] for drawn in axes.collections] == [15, 15]
    outlines = {drawn.get_paths()[0].vertices.tobytes() for drawn in axes.collections}
    assert len(outlines) == 2, "each cluster has its shape"
    assert [text.get_text() for text in axes.texts] == ["0", "2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1", "2 owl"]


def _panel(figure: Figure, word: str) -> Axes:
    return next(axes for axes in figure.axes if word in axes.get_title())


def _points(axes: Axes) -> int:
    return sum(int(np.shape(drawn.get_offsets())[0]) for drawn in axes.collections)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_second_panel_holds_the_reliable_points_on_the_same_plane(share: float) -> None:
    points = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    reliable = np.arange(10) < 10 * share
    values = np.asarray([0, 1, -1] * 3 + [0])
    groups = MapGroups(values, ["#ff0000", "#0000ff"], "os", "ab", ("all", "reliable"))
    figure = reliable_map_figure(points, groups, reliable)
    left, right = _panel(figure, "(a) all"), _panel(figure, "(b) reliable")
    assert (_points(left), _points(right)) == (10, reliable.sum())
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    drawn = [np.unique(one.get_facecolor(), axis=0) for one in left.collections]
    assert [len(colors) for colors in drawn] == [2, 1], "circles: a group, and those of none"


def test_a_legend_names_the_classes_where_they_fit() -> None:
    points, chosen = np.zeros((4, 2), np.float32), np.ones(4, bool)

    def legends(names: list[str]) -> list[Legend]:
        colors = ["#ff0000"] * len(names)
        groups = MapGroups(np.arange(4), colors, ["o"] * len(names), names, ("all", "reliable"))
        return reliable_map_figure(points, groups, chosen).legends

    names = ["$x^", "b", "c", "d"]
    (legend,) = legends(names)
    assert [text.get_text() for text in legend.get_texts()] == names
    assert not legends([str(number) for number in range(30)])


def test_points_apart_from_their_neighbours_are_marked() -> None:
    points = np.zeros((10, 2), np.float32)
    confidence = np.full(10, np.nan, np.float32)
    agrees = np.arange(10) < 7
    calm, apart = _panel(trust_map_figure(points, confidence, agrees), "neighbours").collections
    assert np.shape(calm.get_offsets())[0] == 7
    assert np.shape(apart.get_offsets())[0] == 3

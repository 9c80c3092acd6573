from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spice_keras.groups.changes import Changes, Part, Split
from spice_keras.groups.hierarchy import Hierarchy, merge_clusters
from spice_keras.groups.suggest import GroupCurves, GroupSuggestion
from spice_keras.report.figures import save_chart
from spice_keras.report.groups import (
    change_sentences,
    curve_lines,
    groups_chart,
    hierarchy_chart,
    hierarchy_lines,
    suggestion_sentences,
)

NUMBERS = np.array([2, 3, 4, 5, 120])
SCORE = np.array([0.2, 0.5, 0.7, 0.68, 0.1])
CURVES = GroupCurves(NUMBERS, SCORE + 0.1, SCORE, SCORE, SCORE - 0.3, SCORE * np.nan, 14 - SCORE)
CHANGES = Changes(4, 5, (Split(2, 1200, (Part(0, 700), Part(4, 498))),), (), 1)


def suggestion(**changed: object) -> GroupSuggestion:
    made = GroupSuggestion(
        num_clusters=4,
        interval=(4, 5),
        second=5,
        unclear=None,
        changes=CHANGES,
        curves=CURVES,
        clusters=np.zeros((5, 10), np.int32),
        rows=np.arange(10),
    )
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def tree(num_clusters: int = 6) -> Hierarchy:
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(num_clusters), 20)
    near = clusters[:, np.newaxis] // 2 * 40 + generator.integers(0, 40, (len(clusters), 5))
    return merge_clusters(clusters, np.minimum(near, len(clusters) - 1))


def test_the_number_never_stands_alone() -> None:
    first, *changes = suggestion_sentences(suggestion(), "image")
    assert first == (
        "About 4 groups. Any number from 4 to 5 explains the data about as well. "
        "The second best is 5."
    )
    assert changes == [
        "From 4 to 5 clusters: Cluster 2 (1,200 images) splits into 0 (700) and 4 (498).",
        "1 image would change place beside that.",
    ]


def test_no_clear_number_is_an_answer() -> None:
    first = suggestion_sentences(suggestion(unclear="the halves differ", interval=(4, 4)))[0]
    assert first == (
        "There is no clear number of groups: the halves differ. No other number between 2 and "
        "120 explains the data as well; if you need one, take 4. The second best is 5."
    )


def test_many_changes_are_cut_short() -> None:
    splits = tuple(Split(c, 9, (Part(c, 5), Part(c + 20, 4))) for c in range(9))
    said = change_sentences(Changes(9, 18, splits, (9,), 0))
    assert len(said) == 7
    assert said[-1] == "4 more clusters change."
    assert change_sentences(Changes(2, 2, (), (), 0)) == []
    assert change_sentences(Changes(3, 3, (), (1,), 0)) == [
        "From 3 to 3 clusters: Cluster 1 is shared out among others."
    ]


def test_the_plot_is_plain_text_of_80_columns() -> None:
    header, *lines = curve_lines(CURVES, 4, (4, 5))
    assert all(len(line) <= 80 for line in (header, *lines))
    assert [line[0] for line in lines] == [" ", " ", ">", "+", " "]
    assert [int(line[1:6]) for line in lines] == NUMBERS.tolist()
    dots = [line.index("o") for line in lines]
    assert np.argsort(dots).tolist() == np.argsort(SCORE).tolist()
    assert "0.700" in lines[2]
    assert "13.30" in lines[2]


def test_equal_scores_are_drawn() -> None:
    same = dataclasses.replace(CURVES, score=np.full(5, 0.4))
    assert len({line.index("o") for line in curve_lines(same, 2, (2, 120))[1:]}) == 1


def test_figures_say_what_they_show(tmp_path: Path) -> None:
    chart = groups_chart(suggestion())
    assert "About 4 groups" in chart.caption.text
    assert "largest at 4" in chart.caption.alternative
    lines = {line.get_label() for axes in chart.figure.axes for line in axes.get_lines()}
    assert {"score", "modularity", "agreement of two halves", "bits for each link"} <= lines
    saved = save_chart(chart, tmp_path)
    assert saved.path == tmp_path / "groups.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["groups.png", "groups.svg"]


def test_the_tree_is_drawn_with_every_cluster(tmp_path: Path) -> None:
    chart = hierarchy_chart(tree(), ["ant", "bee", "cat", "dog", "elk", "fox"])
    (axes,) = chart.figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(labels) == ["ant", "bee", "cat", "dog", "elk", "fox"]
    assert abs(labels.index("ant") - labels.index("bee")) == 1
    assert len(axes.get_lines()) == 5
    assert "merge first" in chart.caption.alternative
    save_chart(chart, tmp_path)


@pytest.mark.parametrize("num_clusters", [2, 6, 60])
def test_merges_are_listed_to_the_last(num_clusters: int) -> None:
    lines = hierarchy_lines(tree(num_clusters), "image")
    assert len(lines) == num_clusters
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].startswith("   1 ")
    assert f"({20 * num_clusters:,} images)" in lines[-1]

"""The section of near-duplicates and outliers: what it shows, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spice_keras.report.data import ReportData
from spice_keras.report.html import render_report
from spice_keras.report.unusual import (
    MAX_GROUPS,
    MAX_IN_GROUP,
    MAX_OUTLIERS,
    Unusual,
    unusual_figures,
    unusual_view,
)
from tests.report.run_data import embedding_run, report_data

COUNT = 60


def _unusual(groups: dict[int, list[int]], scores: dict[int, float]) -> Unusual:
    group, score = np.full(COUNT, -1, np.int32), np.zeros(COUNT)
    for number, rows in groups.items():
        group[rows] = number
    score[[*scores]] = [*scores.values()]
    return Unusual(group, score, 2.5)


def _with(data: ReportData, unusual: Unusual) -> ReportData:
    return replace(data, unusual=unusual)


def test_outliers_are_those_from_the_limit_on_the_highest_first() -> None:
    unusual = _unusual({}, {3: 2.5, 7: 4.0, 9: 2.49})
    assert unusual.outliers.tolist() == [7, 3]
    assert unusual_figures(unusual) == {
        "near_duplicates": {"groups": 0, "items": 0},
        "outliers": 2,
    }


def test_the_figures_count_groups_and_items() -> None:
    unusual = _unusual({0: [1, 2], 1: [5, 8, 9]}, {})
    assert unusual_figures(unusual)["near_duplicates"] == {"groups": 2, "items": 5}


def test_the_largest_groups_and_the_first_outliers_are_shown() -> None:
    groups = {number: [2 * number, 2 * number + 1] for number in range(MAX_GROUPS + 1)}
    groups[MAX_GROUPS] += list(range(30, 30 + MAX_IN_GROUP))
    scores = {row: 3.0 + row / 100 for row in range(COUNT)}
    data = report_data()
    view = unusual_view(_unusual(groups, scores), data.items, data.clustering)
    assert [group.number for group in view.groups] == [MAX_GROUPS, *range(MAX_GROUPS - 1)]
    assert len(view.groups[0].members) == MAX_IN_GROUP
    assert (
        "8 images, cluster 0, cluster 1, cluster 2, cluster 3: almost the same, yet apart"
        in view.groups[0].text
    )
    assert len(view.outliers) == MAX_OUTLIERS
    assert view.outliers[0].id == "folder/0059.png"
    assert view.outliers[0].confidence == "3.6"
    assert "24 images form 9 groups of near-duplicates" in view.duplicates_text
    assert f"The {MAX_GROUPS} largest groups are shown" in view.duplicates_text
    assert "60 images lie far from all others" in view.outliers_text
    assert f"The first {MAX_OUTLIERS} are shown" in view.outliers_text
    assert view.num_characters > 1000


def test_a_group_within_one_cluster_says_no_more() -> None:
    data = report_data()
    view = unusual_view(_unusual({0: [0, 4]}, {2: 3.0}), data.items, data.clustering)
    assert view.groups[0].text == "2 images, cluster 0"
    assert "1 image lies far from all others" in view.outliers_text
    assert "shown" not in view.duplicates_text + view.outliers_text


def test_none_found_is_said() -> None:
    page = render_report(_with(report_data(), _unusual({}, {})), [])
    assert "No near-duplicates were found: no two images are almost the same." in page
    assert "No outliers were found: no image is far from all others." in page


def test_the_page_shows_them_and_links_to_them() -> None:
    page = render_report(_with(report_data(), _unusual({0: [0, 1]}, {5: 7.25})), [])
    section = page.split('id="unusual"')[1].split("</section>")[0]
    assert 'href="#unusual"' in page
    assert section.count("<img ") == 3
    assert 'alt="folder/0005.png" title="folder/0005.png · 7.2"' in section
    assert "duplicates.csv" in section
    assert "outliers.csv" in section


def test_without_images_names_are_shown() -> None:
    page = render_report(_with(embedding_run(), _unusual({0: [0, 1]}, {5: 7.25})), [])
    section = page.split('id="unusual"')[1].split("</section>")[0]
    assert "<img " not in section
    assert "row-0005 <span>7.2</span>" in section
    assert "1 item lies far from all others" in section


def test_a_run_that_was_not_searched_has_no_section() -> None:
    assert 'id="unusual"' not in render_report(report_data(), [])


def test_other_items_are_refused() -> None:
    other = Unusual(np.full(3, -1, np.int32), np.zeros(3), 2.5)
    with pytest.raises(ValueError, match="groups"):
        _with(report_data(), other)

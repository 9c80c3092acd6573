from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from spice_keras.report.clusters import cluster_sizes_figure, reliable_share_figure


def test_bars_show_sizes_and_reliable_members() -> None:
    axes = cluster_sizes_figure([5, 0, 3], [2, 0, 3]).axes[0]
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [5, 0, 3, 2, 0, 3]
    assert {text.get_text(): text.xy[0] for text in axes.texts if isinstance(text, Annotation)} == {
        "5": 0,
        "empty": 1,
        "3": 2,
    }


def test_two_hundred_bars_carry_no_labels_and_a_histogram_of_the_sizes() -> None:
    axes, histogram = cluster_sizes_figure(np.arange(200), np.zeros(200)).axes
    assert len(axes.patches) == 400
    assert len(axes.texts) == 0
    heights = [bar.get_height() for bar in histogram.patches if isinstance(bar, Rectangle)]
    assert sum(heights) == 200
    assert len(cluster_sizes_figure(np.arange(40), np.zeros(40)).axes) == 1


def test_shares_are_of_each_cluster_and_an_empty_one_has_none() -> None:
    axes = reliable_share_figure([4, 0, 10], [1, 0, 9]).axes[0]
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [100, 0, 100, 25, 0, 90]
    assert [text.get_text() for text in axes.texts] == ["25", "90"]
    overall = axes.get_lines()[0]
    assert np.ravel(overall.get_ydata())[0] == pytest.approx(100 * 10 / 14)
    assert len(reliable_share_figure(np.full(200, 5), np.ones(200)).axes[0].texts) == 0


def test_the_line_of_an_equal_share_does_not_strike_labels_through() -> None:
    for axes in (
        cluster_sizes_figure([5, 4, 3], [2, 0, 3]).axes[0],
        reliable_share_figure([4, 4, 10], [1, 2, 9]).axes[0],
    ):
        (line,) = axes.get_lines()
        for text in axes.texts:
            patch = text.get_bbox_patch()
            assert patch is not None
            assert patch.get_facecolor() == (1, 1, 1, 1)
            assert text.get_zorder() > line.get_zorder()

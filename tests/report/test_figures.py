from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.report.cluster_figures import matched_order, shortened
from spice_keras.report.figures import (
    cluster_sizes_figure,
    confusion_figure,
    embedding_map_figure,
    save_figures,
    training_figure,
    trust_map_figure,
)
from spice_keras.report.training_figures import Rows, curve, drawable_panels
from tests.report.run_data import report_data


def test_every_figure_of_a_full_run_is_saved_as_an_image(tmp_path: Path) -> None:
    paths = save_figures(report_data(), tmp_path / "new" / "figures")
    assert set(paths) == {
        "cluster_sizes",
        "training_pretrain",
        "training_self",
        "training_semi",
        "embedding_map",
        "trust_map",
        "confusion",
    }
    for path in paths.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == {
        path.name for path in paths.values()
    }


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    data = report_data(history={})
    first, second = (save_figures(data, tmp_path / name) for name in ("a", "b"))
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_only_figures_with_numbers_are_drawn(tmp_path: Path) -> None:
    data = report_data(
        confusion=None,
        class_names=None,
        map_points=np.zeros((0, 2), np.float32),
        map_indices=np.zeros(0, np.int64),
        history={"semi": [], "pretrain": [{"loss": float("nan")}], "self": [{"loss": 1.0}]},
    )
    assert set(save_figures(data, tmp_path)) == {"cluster_sizes", "training_self"}


def test_class_names_are_names_not_formulas(tmp_path: Path) -> None:
    names = ["$\\frac{", "\u732b", "caf\udce9"]
    assert "confusion" in save_figures(report_data(class_names=names, history={}), tmp_path)


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="figures cannot be written"):
        save_figures(report_data(), tmp_path / "file")


def test_bars_show_sizes_and_reliable_members() -> None:
    axes = cluster_sizes_figure([5, 0, 3], [2, 0, 3]).axes[0]
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [5, 0, 3, 2, 0, 3]
    assert [text.get_text() for text in axes.texts] == ["5", "empty", "3"]


def test_two_hundred_bars_carry_no_labels() -> None:
    axes = cluster_sizes_figure(np.arange(200), np.zeros(200)).axes[0]
    assert len(axes.patches) == 400
    assert len(axes.texts) == 0


def test_matched_pairs_lie_on_the_diagonal_and_the_others_follow() -> None:
    confusion = np.asarray([[0, 1, 9, 0], [8, 0, 0, 5], [0, 7, 1, 0]])
    order = matched_order(confusion, {0: 1, 1: 2, 2: 0})
    assert order.tolist() == [2, 0, 1, 3]
    assert matched_order(confusion, None).tolist() == [2, 0, 3, 1]


def test_confusion_colours_are_shares_of_the_class_and_empty_classes_are_zero() -> None:
    axes = confusion_figure(np.asarray([[3, 1], [0, 0]]), ["a", "b"], {0: 0, 1: 1}).axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), [[0.75, 0.25], [0.0, 0.0]])
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3"]


def test_large_confusion_matrices_carry_no_numbers() -> None:
    axes = confusion_figure(np.ones((200, 200), np.int64)).axes[0]
    assert len(axes.texts) == 0
    assert len(axes.get_xticks()) == 0


def test_maps_draw_every_point_and_number_every_cluster() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    clusters = np.repeat([0, 2], 15)
    axes = embedding_map_figure(points, clusters, 3).axes[0]
    assert np.shape(axes.collections[0].get_offsets())[0] == 30
    assert [text.get_text() for text in axes.texts] == ["0", "2"]


def _panel(figure: Figure, word: str) -> Axes:
    return next(axes for axes in figure.axes if word in axes.get_title())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_reliable_points_are_coloured_and_the_others_grey(share: float) -> None:
    points = np.zeros((10, 2), np.float32)
    reliable = np.arange(10) < 10 * share
    confidence = np.full(10, np.nan, np.float32)
    figure = trust_map_figure(points, np.zeros(10, np.int64), confidence, reliable, 1)
    others, chosen = _panel(figure, "reliable").collections
    assert np.shape(chosen.get_offsets())[0] == reliable.sum()
    assert np.shape(others.get_offsets())[0] == (~reliable).sum()


def test_pretraining_is_drawn_beside_a_random_guess() -> None:
    rows = [{"loss": 5.0, "random_guess": 6.0}, {"loss": 4.0, "random_guess": 6.0}]
    axes = training_figure("pretrain", rows).axes[0]
    labels = {line.get_label(): np.ravel(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert labels == {"loss": [5.0, 4.0], "random guess, ln(K+1)": [6.0, 6.0]}


def test_the_star_is_the_head_that_was_chosen() -> None:
    rows: Rows = [
        {"epoch": 2, "head_losses": [1.6, 1.9], "selected_loss": None},
        {"epoch": 3, "head_losses": [1.9, 1.7], "selected_loss": 1.7},
        {"epoch": 4},
        {"epoch": 5, "head_losses": [1.8], "selected_loss": 1.7},
    ]
    axes = training_figure("self", rows, num_clusters=10).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert (
        np.ravel(lines["chosen"].get_xdata())[0],
        np.ravel(lines["chosen"].get_ydata())[0],
    ) == (
        3,
        1.7,
    )
    assert np.ravel(lines["lowest head of the epoch"].get_xdata()).tolist() == [2, 3, 5]
    assert np.ravel(lines["lowest possible"].get_ydata())[0] == pytest.approx(1.46115, abs=1e-5)


def test_gaps_in_a_curve_are_bridged() -> None:
    rows: Rows = [{"loss": 1.0}, {"loss": None}, {"loss": 0.5}]
    line = training_figure("other", rows).axes[0].get_lines()[0]
    assert np.ravel(line.get_xdata()).tolist() == [1, 3]


def test_a_stage_without_numbers_cannot_be_drawn() -> None:
    assert drawable_panels("semi", [{"epoch": 1}]) == ()
    with pytest.raises(ValueError, match="Received: stage='semi'"):
        training_figure("semi", [{"epoch": 1}])


def test_head_losses_of_unequal_length_are_padded() -> None:
    table = curve(
        [{"head_losses": [1.0]}, {}, {"head_losses": np.asarray([2.0, 3.0])}], "head_losses"
    )
    np.testing.assert_array_equal(table, [[1.0, math.nan], [math.nan] * 2, [2.0, 3.0]])


def test_long_names_are_cut() -> None:
    assert shortened("a" * 50) == "a" * 19 + "\N{HORIZONTAL ELLIPSIS}"
    assert shortened("two\nlines") == "two lines"

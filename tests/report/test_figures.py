from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.report.cluster_figures import (
    cluster_sizes_figure,
    confusion_figure,
    matched_order,
    reliable_share_figure,
    shortened,
)
from spice_keras.report.figures import OF_POINTS_OR_PIXELS, save_figures
from spice_keras.report.map_figures import (
    embedding_map_figure,
    reliable_map_figure,
    trust_map_figure,
)
from spice_keras.report.training_figures import Rows, curve, drawable_panels, training_figure
from tests.report.run_data import embedding_run, head_curves, report_data


def test_every_figure_of_a_full_run_is_saved_as_an_image(tmp_path: Path) -> None:
    paths = save_figures(report_data(), tmp_path / "new" / "figures")
    assert set(paths) == {
        "cluster_sizes",
        "reliable_share",
        "prototypes",
        "embedding_map",
        "reliable_map",
        "trust_map",
        "confusion",
        "training_pretrain",
        "training_self",
        "training_semi",
        "selection_self",
        "loss_accuracy",
    }
    for path in paths.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200
    lines_and_bars = {name for name in paths if name not in OF_POINTS_OR_PIXELS}
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == {
        *(f"{name}.png" for name in paths),
        *(f"{name}.svg" for name in lines_and_bars),
    }
    for name in lines_and_bars:
        assert "<svg" in paths[name].with_suffix(".svg").read_text("utf-8")[:2000]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    data = report_data()
    for folder in ("a", "b"):
        save_figures(data, tmp_path / folder)
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_only_figures_with_numbers_are_drawn(tmp_path: Path) -> None:
    data = report_data(
        confusion=None,
        class_names=None,
        map_points=np.zeros((0, 2), np.float32),
        map_indices=np.zeros(0, np.int64),
        map_labels=None,
        matching=None,
        heads={},
        prototype_maps=None,
        history={"semi": [], "pretrain": [{"loss": float("nan")}], "self": [{"loss": 1.0}]},
    )
    assert set(save_figures(data, tmp_path)) == {
        "cluster_sizes",
        "reliable_share",
        "training_self",
    }


def test_without_labels_the_choice_is_drawn_and_no_accuracy(tmp_path: Path) -> None:
    names = save_figures(
        report_data(
            confusion=None,
            class_names=None,
            matching=None,
            map_labels=None,
            heads={"self": head_curves(labels=False)},
        ),
        tmp_path,
    )
    assert "selection_self" in names
    assert not {"loss_accuracy", "confusion"} & set(names)


def test_without_images_there_are_no_heat_maps(tmp_path: Path) -> None:
    assert "prototypes" not in save_figures(embedding_run(), tmp_path)


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


def _points(axes: Axes) -> int:
    return sum(int(np.shape(drawn.get_offsets())[0]) for drawn in axes.collections)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_second_panel_holds_the_reliable_points_on_the_same_plane(share: float) -> None:
    points = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    reliable = np.arange(10) < 10 * share
    groups = np.asarray([0, 1, -1] * 3 + [0])
    figure = reliable_map_figure(points, groups, reliable, ["#ff0000", "#0000ff"])
    left, right = _panel(figure, "(a) all"), _panel(figure, "(b) reliable")
    assert (_points(left), _points(right)) == (10, reliable.sum())
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert len(np.unique(left.collections[0].get_facecolor(), axis=0)) == 3


def test_a_legend_names_the_classes_where_they_fit() -> None:
    points, groups = np.zeros((4, 2), np.float32), np.arange(4)
    chosen, colors = np.ones(4, bool), ["#ff0000"] * 4
    names = ["$x^", "b", "c", "d"]
    (legend,) = reliable_map_figure(points, groups, chosen, colors, names=names).legends
    assert [text.get_text() for text in legend.get_texts()] == names
    many = [str(number) for number in range(30)]
    figure = reliable_map_figure(points, groups, chosen, ["#ff0000"] * 30, names=many)
    assert not figure.legends


def test_points_apart_from_their_neighbours_are_marked() -> None:
    points = np.zeros((10, 2), np.float32)
    confidence = np.full(10, np.nan, np.float32)
    agrees = np.arange(10) < 7
    calm, apart = _panel(trust_map_figure(points, confidence, agrees), "neighbours").collections
    assert np.shape(calm.get_offsets())[0] == 7
    assert np.shape(apart.get_offsets())[0] == 3


def test_pretraining_is_drawn_beside_a_random_guess() -> None:
    rows = [{"loss": 5.0, "random_guess": 6.0}, {"loss": 4.0, "random_guess": 6.0}]
    axes = training_figure("pretrain", rows).axes[0]
    labels = {line.get_label(): np.ravel(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert labels == {"loss": [5.0, 4.0], "random guess, ln(K+1)": [6.0, 6.0]}


def test_gaps_in_a_curve_are_bridged() -> None:
    rows: Rows = [{"loss": 1.0}, {"loss": None}, {"loss": 0.5}]
    line = training_figure("other", rows).axes[0].get_lines()[0]
    assert np.ravel(line.get_xdata()).tolist() == [1, 3]


def test_a_stage_without_numbers_cannot_be_drawn() -> None:
    assert drawable_panels("semi", [{"epoch": 1}]) == ()
    with pytest.raises(ValueError, match="Received: stage='semi'"):
        training_figure("semi", [{"epoch": 1}])


def test_a_curve_has_gaps_where_a_row_has_no_number() -> None:
    rows: Rows = [{"loss": 1}, {}, {"loss": "x"}, {"loss": math.inf}]
    np.testing.assert_array_equal(curve(rows, "loss"), [1.0, *[math.nan] * 3])


def test_long_names_are_cut() -> None:
    assert shortened("a" * 50) == "a" * 19 + "\N{HORIZONTAL ELLIPSIS}"
    assert shortened("two\nlines") == "two lines"

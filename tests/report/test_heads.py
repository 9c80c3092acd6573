from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.report.figures import draw_charts
from spice_keras.report.heads import (
    CHOSEN,
    EARLY,
    FLOOR,
    HIGHEST,
    LOWEST,
    MAX_MARKS,
    ORACLE,
    loss_accuracy_figure,
    selection_figure,
)
from spice_keras.report.setup import HeadSetup
from tests.report.run_data import captions, head_curves, report_data


def _marks(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """The points of every line with a name."""
    return {
        str(line.get_label()): [
            (float(x), float(y))
            for x, y in zip(np.ravel(line.get_xdata()), np.ravel(line.get_ydata()), strict=True)
        ]
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }


def test_the_marks_of_the_losses() -> None:
    loss, _ = selection_figure(head_curves(), double_softmax_floor(10)).axes
    marks = _marks(loss)
    assert marks[LOWEST] == [(0, 1.8), (1, 1.6), (2, 1.5), (3, 1.51)]
    assert marks[CHOSEN] == [(2, 1.5)]
    assert marks[FLOOR][0][1] == pytest.approx(1.46115, abs=1e-5)
    assert HIGHEST not in marks


def test_the_marks_of_the_accuracies() -> None:
    _, accuracy = selection_figure(head_curves()).axes
    marks = _marks(accuracy)
    assert marks[LOWEST] == [(0, 0.6), (1, 0.7), (2, 0.8), (3, 0.8)]
    assert marks[HIGHEST] == [(0, 0.6), (1, 0.7), (2, 0.9), (3, 0.82)]
    assert marks[CHOSEN] == [(2, 0.8)]
    assert marks[ORACLE] == [(2, 0.9)]


def test_without_labels_only_losses_are_drawn() -> None:
    figure = selection_figure(head_curves(labels=False))
    assert len(figure.axes) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [LOWEST, CHOSEN, EARLY]


def test_every_head_has_a_line_and_no_mark_is_named_twice() -> None:
    figure = selection_figure(head_curves(), 1.0)
    for axes in figure.axes:
        assert sum(len(np.ravel(line.get_xdata())) == 4 for line in axes.get_lines()) >= 3
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [LOWEST, CHOSEN, HIGHEST, ORACLE, FLOOR, EARLY]


def test_an_epoch_whose_accuracy_is_unknown_is_not_ringed() -> None:
    curves = head_curves()
    assert curves.accuracy is not None
    partial = replace(curves, accuracy=curves.accuracy[[1, 3]], accuracy_epochs=np.array([1, 3]))
    marks = _marks(selection_figure(partial).axes[1])
    assert CHOSEN not in marks
    assert marks[ORACLE] == [(3, 0.82)]
    assert marks[LOWEST] == [(1, 0.7), (3, 0.8)]


def test_losses_that_are_no_numbers_and_long_trainings_are_drawn() -> None:
    losses = np.linspace(2, 1, 400)[:, None] + np.array([0.0, 0.1])
    losses[:3] = np.nan
    losses[5, 0] = np.nan
    curves = replace(head_curves(labels=False), losses=losses, epochs=np.arange(400), chosen=None)
    axes = selection_figure(curves).axes[0]
    squares = next(line for line in axes.get_lines() if line.get_label() == LOWEST)
    assert len(np.ravel(squares.get_xdata())) == 397
    assert 397 / int(squares.get_markevery()) <= MAX_MARKS
    assert CHOSEN not in _marks(axes)


def test_the_scatter_holds_the_heads_of_the_chosen_epoch() -> None:
    figure = loss_accuracy_figure({"Self": head_curves(), "No labels": head_curves(labels=False)})
    (axes,) = figure.axes
    late, chosen = axes.collections
    assert np.asarray(late.get_offsets()).tolist() == [[1.6, 0.7], [1.51, 0.8], [1.55, 0.82]]
    assert np.asarray(chosen.get_offsets()).tolist() == [[1.66, 0.6], [1.5, 0.8], [1.52, 0.9]]
    assert axes.get_title(loc="left") == "Self, rank correlation -0.50"
    marks = _marks(axes)
    assert marks == {ORACLE: [(1.52, 0.9)], CHOSEN: [(1.5, 0.8)]}


def test_no_accuracy_is_no_scatter() -> None:
    with pytest.raises(ValueError, match=r"Received: none among \['self'\]"):
        loss_accuracy_figure({"self": head_curves(labels=False)})


def test_the_words_say_what_the_figure_holds() -> None:
    found = captions(report_data())
    assert "3 heads over 4 epochs" in found["selection_self"].alternative
    assert "chosen head has an accuracy of 0.800" in found["selection_self"].alternative
    assert "0.900" in found["loss_accuracy"].alternative
    heads = {phase: head_curves(labels=False) for phase in ("self", "refine")}
    found = captions(report_data(heads=heads))
    assert "accuracy" not in found["selection_self"].text + found["selection_self"].alternative
    assert found["selection_refine"].title == "Choice of a head, refinement"


@pytest.mark.parametrize(
    ("setup", "has_floor"),
    [
        (HeadSetup(), True),
        (HeadSetup(loss="softmax"), False),
        (HeadSetup(loss="temperature"), False),
        (HeadSetup(entropy_weight=1.0), False),
        (HeadSetup(objective="neighbors"), False),
    ],
)
def test_only_the_plain_double_softmax_has_a_floor(setup: HeadSetup, has_floor: bool) -> None:
    """In the figure and in its caption; the refinement has another loss."""
    heads = {phase: head_curves() for phase in ("self", "refine")}
    charts = {
        chart.name: chart for chart in draw_charts(report_data(heads=heads, head_setup=setup))
    }
    chart = charts["selection_self"]
    assert (FLOOR in _marks(chart.figure.axes[0])) == has_floor
    assert ("double softmax" in chart.caption.text) == has_floor
    refined = charts["selection_refine"]
    assert FLOOR not in _marks(refined.figure.axes[0])
    assert "double softmax" not in refined.caption.text


def test_the_best_head_is_told_by_accuracy_and_the_chosen_one_by_loss() -> None:
    curves = head_curves()
    assert curves.best_measured == (2, 2)
    assert curves.chosen_row == 2
    np.testing.assert_array_equal(curves.measured_losses, curves.losses)


def test_the_chosen_epoch_is_the_last_measured_one_before_it() -> None:
    curves = head_curves()
    assert curves.accuracy is not None
    for epochs, row in (([1, 3], 0), ([0, 1], 1), ([3], 0)):
        accuracy = curves.accuracy[epochs]
        partial = replace(curves, accuracy=accuracy, accuracy_epochs=np.asarray(epochs))
        assert partial.chosen_row == row
        np.testing.assert_array_equal(partial.measured_losses, curves.losses[epochs])


def test_the_rank_correlation_is_spearmans() -> None:
    assert head_curves().rank_correlation == pytest.approx(-0.5)
    curves = head_curves()
    falling = np.array([[0.9, 0.8, 0.7]])
    losses = np.array([[1.0, 2.0, 3.0]])
    one = replace(
        curves, losses=losses, epochs=np.array([0]), chosen=(0, 0), accuracy=falling,
        accuracy_epochs=np.array([0]),
    )  # fmt: skip
    assert one.rank_correlation == pytest.approx(-1.0)
    assert replace(one, accuracy=np.full((1, 3), 0.5)).rank_correlation is None
    assert replace(one, losses=np.array([[1.0, np.nan, 3.0]])).rank_correlation is None
    assert replace(one, chosen=None).rank_correlation is None


def test_without_labels_nothing_is_measured() -> None:
    curves = head_curves(labels=False)
    assert (curves.best_measured, curves.chosen_row, curves.rank_correlation) == (None, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": np.arange(3)},
        {"losses": np.zeros(4)},
        {"losses": np.zeros((0, 3)), "epochs": np.arange(0)},
        {"accuracy": None},
        {"accuracy": np.zeros((4, 2))},
        {"accuracy_epochs": np.arange(3)},
    ],
)
def test_curves_of_other_heads_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Received"):
        replace(head_curves(), **change)

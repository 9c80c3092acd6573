from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from spice_keras.report.selection_captions import loss_accuracy_caption, selection_caption
from spice_keras.report.selection_figures import (
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
from tests.report.run_data import head_curves, report_data


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
    loss, _ = selection_figure(head_curves(), num_clusters=10).axes
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
    figure = selection_figure(head_curves(), num_clusters=3)
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
    data = report_data()
    caption = selection_caption("self", data)
    assert "3 heads over 4 epochs" in caption.alternative
    assert "chosen head has an accuracy of 0.800" in caption.alternative
    assert "0.900" in loss_accuracy_caption(data).alternative
    bare = report_data(heads={"self": head_curves(labels=False)}, objective="neighbors")
    caption = selection_caption("self", bare)
    assert "accuracy" not in caption.text + caption.alternative
    assert "double softmax" not in caption.text
    assert selection_caption("refine", bare).alternative == "Choice of a head, refinement"

from __future__ import annotations

import numpy as np

from spice_keras.report.classes import confusion_figure, matched_order, shortened


def test_matched_pairs_lie_on_the_diagonal_and_the_others_follow() -> None:
    confusion = np.asarray([[0, 1, 9, 0], [8, 0, 0, 5], [0, 7, 1, 0]])
    order = matched_order(confusion, {0: 1, 1: 2, 2: 0})
    assert order.tolist() == [2, 0, 1, 3]
    assert matched_order(confusion, {}).tolist() == [2, 0, 3, 1]


def test_confusion_colours_are_shares_of_the_class_and_empty_classes_are_zero() -> None:
    axes = confusion_figure(np.asarray([[3, 1], [0, 0]]), ["a", "b"], {0: 0, 1: 1}).axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), [[0.75, 0.25], [0.0, 0.0]])
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3"]


def test_large_confusion_matrices_carry_no_numbers() -> None:
    axes = confusion_figure(np.ones((200, 200), np.int64), ["x"] * 200, {}).axes[0]
    assert len(axes.texts) == 0
    assert len(axes.get_xticks()) == 0


def test_long_names_are_cut() -> None:
    assert shortened("a" * 50) == "a" * 19 + "\N{HORIZONTAL ELLIPSIS}"
    assert shortened("two\nlines") == "two lines"

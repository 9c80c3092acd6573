from __future__ import annotations

import math

import numpy as np
import pytest

from spice_keras.report.training import Rows, curve, drawable_panels, training_figure


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

"""What clusters guided by words reach at least."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from spice_keras.metrics.expected_accuracy import (
    corrected_consistency,
    fitted_on,
    guided_figures,
    least_accuracy,
)

_GROUPS = np.repeat([0, 1, 2], 30)
_ROWS = np.eye(3)[_GROUPS]


def test_the_figures_are_the_neighbours_share_and_nearness() -> None:
    near = np.random.default_rng(0).integers(90, size=(90, 15))
    found = guided_figures(_GROUPS, 3, near, _ROWS)
    same = [_GROUPS[other] == _GROUPS[row] for row in range(90) for other in near[row, :10]]
    rate = float(np.mean(same))
    assert found[0] == pytest.approx(corrected_consistency(rate, np.array([30, 30, 30])))
    assert found[1] == pytest.approx(np.mean(_GROUPS[near[:, 0]] == _GROUPS))


def test_more_consistent_clusters_reach_more() -> None:
    found = [least_accuracy(np.array([rate, 0.6])) for rate in (0.2, 0.6, 0.95)]
    assert 0 < found[0] < found[1] < found[2] < 1


def test_the_shipped_numbers() -> None:
    file = files("spice_keras.metrics").joinpath("expected_accuracy_guided.json")
    shipped = json.loads(file.read_text("utf-8"))
    assert len(shipped["acc"]["weights"]) == 2
    assert shipped["left_out"]["reached"] >= 0.9
    clusterings, sets = fitted_on(guided=True)
    assert clusterings >= 190
    assert sets == 5

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spice_keras.report.figure_data import PrototypeMaps
from tests.report.run_data import head_curves


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


def test_maps_of_other_images_are_refused() -> None:
    indices, clusters = np.arange(3), np.zeros(3, int)
    PrototypeMaps(indices, clusters, np.zeros((3, 2, 2), np.float32))
    for maps in (np.zeros((2, 2, 2), np.float32), np.zeros((3, 4), np.float32)):
        with pytest.raises(ValueError, match="Received: lengths"):
            PrototypeMaps(indices, clusters, maps)

"""Expected accuracy: the figures, the mapping, and when it applies."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.metrics.captured_variance import captured_variance
from spice_keras.metrics.clustering import adjusted_rand_index
from spice_keras.metrics.expected_accuracy import (
    Judged,
    TrustFigures,
    applies,
    corrected_consistency,
    expected_accuracy,
    fit_mapping,
    fit_mean_mapping,
    fitted_on,
    foretold,
    log_odds,
    trust_figures,
)
from spice_keras.metrics.trust import silhouette

_GROUPS = np.repeat([0, 1, 2], 30)


def _judged(spread: float) -> Judged:
    noise = np.random.default_rng(0).normal(size=(90, 6))
    rows = l2_normalized(np.eye(3, 6)[_GROUPS] + spread * noise)
    mixed = np.where(np.arange(90) % 5 == 0, (_GROUPS + 1) % 3, _GROUPS)
    neighbors = nearest_neighbors(rows, 12)
    return Judged(_GROUPS, 3, rows, neighbors, np.stack([_GROUPS, mixed]))


def test_the_figures_are_taken_without_the_item_itself() -> None:
    judged = _judged(0.2)
    figures = trust_figures(judged)
    near = judged.neighbors[:, 1:11]
    rate = float(np.mean(_GROUPS[near] == _GROUPS[:, np.newaxis]))
    assert figures.consistency == pytest.approx((rate - 1 / 3) / (1 - 1 / 3))
    (mixed,) = judged.others[1:]
    assert figures.agreement == pytest.approx((1 + adjusted_rand_index(_GROUPS, mixed)) / 2)
    assert figures.captured == captured_variance(judged.rows, _GROUPS, 3)
    assert figures.silhouette == silhouette(judged.rows, _GROUPS)
    nearest = zip(judged.rows, judged.rows[judged.neighbors[:, 1]], strict=True)
    assert figures.apart == pytest.approx(1 - np.mean([a @ b for a, b in nearest]), rel=1e-5)


def test_blurred_groups_are_expected_to_be_less_accurate() -> None:
    sharp, blurred = (expected_accuracy(trust_figures(_judged(s))) for s in (0.05, 0.6))
    assert sharp.acc > blurred.acc
    for found in (sharp, blurred):
        assert 0 < found.low < found.acc < found.high < 1
        assert 0 < found.purity < 1


def test_a_mapping_finds_what_is_linear_in_the_log_odds() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 6))
    odds = 0.3 + rows @ np.array([1.0, -0.5, 0.0, 0.2, 0.0, 0.0])
    truth = 1 / (1 + np.exp(-odds))
    found = fit_mapping(rows, truth, penalty=1e-6)
    fitted = foretold(rows, found)
    np.testing.assert_allclose(fitted, log_odds(truth), atol=0.35)  # the ends are clipped
    assert np.corrcoef(fitted, odds)[0, 1] > 0.99


def test_one_slope_serves_all_figures() -> None:
    rows = np.random.default_rng(0).normal(2.0, [1.0, 10.0, 0.1], (400, 3))
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    truth = 1 / (1 + np.exp(-0.3 - 0.4 * standard.sum(axis=1)))
    found = fit_mean_mapping(rows, truth)
    np.testing.assert_allclose(found["weights"], 0.4, atol=0.02)
    inside = (np.abs(standard) < 3.0).all(axis=1)
    np.testing.assert_allclose(foretold(rows, found)[inside], log_odds(truth)[inside], atol=0.1)


def test_figures_beyond_those_that_were_fitted_count_as_the_farthest() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2))
    found = fit_mean_mapping(rows, 1 / (1 + np.exp(-rows.sum(axis=1))))
    assert foretold(np.array([50.0, 0.0]), found) == foretold(np.array([500.0, 0.0]), found)


def test_chance_is_taken_away() -> None:
    assert corrected_consistency(0.5, np.array([10, 10])) == 0.0
    assert corrected_consistency(1.0, np.array([10, 10])) == 1.0
    assert corrected_consistency(1.0, np.array([20, 0])) == 0.0


@pytest.mark.parametrize(
    ("items", "clusters", "used", "heads", "expected"),
    [
        (100, 10, 10, 10, True),
        (70, 10, 10, 10, False),  # too few items
        (1000, 100, 90, 10, False),  # too many clusters
        (100, 10, 1, 10, False),  # collapsed
        (100, 10, 10, 1, False),  # nothing to agree with
    ],
)
def test_when_it_applies(items: int, clusters: int, used: int, heads: int, expected: bool) -> None:
    assert applies(items, clusters, used, heads) == expected


def test_the_shipped_numbers_are_of_these_figures() -> None:
    text = files("spice_keras.metrics").joinpath("expected_accuracy.json").read_text("utf-8")
    shipped = json.loads(text)
    width = len(TrustFigures(0, 0, 0, 0, 0).as_row())
    for target in ("acc", "purity"):
        assert len(shipped[target]["weights"]) == width
    clusterings, sets = fitted_on()
    assert clusterings >= 100
    assert sets >= 5

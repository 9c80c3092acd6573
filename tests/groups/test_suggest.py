from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras import UserError, suggest_clusters
from spice_keras.groups import suggest as module
from spice_keras.groups.candidates import GridTraining
from spice_keras.groups.suggest import (
    GroupSuggestion,
    as_good,
    halves_agreement,
    suggested_number,
)
from spice_keras.metrics.clustering import adjusted_rand_index
from tests.reference import clustering as reference

_QUICK = GridTraining(num_heads=1, num_half_heads=1, epochs=4)


def features(num_groups: int = 4, each: int = 30, spread: float = 0.15) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.eye(10)[np.repeat(np.arange(num_groups), each)] + spread * generator.standard_normal(
        (num_groups * each, 10)
    )


@pytest.fixture(scope="module")
def four_groups() -> GroupSuggestion:
    return suggest_clusters(features(), smallest=2, largest=7, training=_QUICK)


def test_finds_the_number_of_groups_that_lie_apart(four_groups: GroupSuggestion) -> None:
    assert four_groups.num_clusters == 4
    assert four_groups.interval == (4, 4)
    assert four_groups.second in (3, 5)
    assert four_groups.unclear is None
    groups = np.repeat(np.arange(4), 30)
    assert adjusted_rand_index(groups, four_groups.clusters_of(4)) == 1.0
    assert four_groups.rows.tolist() == list(range(120))


def test_every_curve_has_a_value_for_each_number(four_groups: GroupSuggestion) -> None:
    curves = four_groups.curves
    assert curves.num_clusters.tolist() == [2, 3, 4, 5, 6, 7]
    at_four = curves.num_clusters.tolist().index(4)
    for name in ("modularity", "relative", "score", "stability", "silhouette", "coding_length"):
        values = getattr(curves, name)
        assert values.shape == (6,)
        assert np.isfinite(values).all()
    for name in ("modularity", "score", "silhouette"):
        assert int(getattr(curves, name).argmax()) == at_four
    assert curves.stability[at_four] == 1.0
    assert curves.stability[-1] < 1.0
    assert int(curves.coding_length.argmin()) == at_four
    assert curves.modularity[at_four] == pytest.approx(0.75)
    assert curves.relative[at_four] == pytest.approx(1.0)


def test_says_what_changes_to_the_second_best(four_groups: GroupSuggestion) -> None:
    changes = four_groups.changes
    assert sorted((changes.coarse, changes.fine)) == sorted((4, four_groups.second))
    assert len(changes.splits) >= 1


def test_clusters_of_a_number_that_was_not_tried(four_groups: GroupSuggestion) -> None:
    with pytest.raises(ValueError, match="num_clusters=9"):
        four_groups.clusters_of(9)


def test_noise_has_no_clear_number() -> None:
    noise = np.random.default_rng(1).standard_normal((150, 30))
    found = suggest_clusters(noise, largest=6, training=_QUICK)
    assert found.unclear == "two halves of the data lead to different clusters"
    assert found.interval[0] <= found.num_clusters <= found.interval[1]


def test_groups_that_run_into_one_another_have_no_clear_number() -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(90)[:, np.newaxis] // 30
    near = groups * 30 + generator.integers(0, 30, (90, 11))
    near[:, 6:] = generator.integers(0, 90, (90, 5))  # half of the links lead anywhere
    found = suggest_clusters(features(3, 30), largest=4, neighbors=near, training=_QUICK)
    assert found.num_clusters == 3
    assert found.curves.stability[1] == 1.0
    assert found.unclear == "the groups run into one another"


def test_a_range_that_ends_too_soon_is_said_to() -> None:
    # Four pairs of groups: halves agree on the pairs.
    pairs = 2 * np.repeat(features(4, 30)[:, :5], 2, axis=1) + features(8, 15)
    found = suggest_clusters(pairs, largest=4, training=replace(_QUICK, num_half_heads=4))
    assert found.num_clusters == 4
    assert found.unclear is not None
    assert "still rises at 4" in found.unclear


def test_large_sets_are_judged_by_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ITEMS", 90)
    found = suggest_clusters(features(), largest=5, training=_QUICK)
    assert found.num_clusters == 4
    assert len(found.rows) == 90
    assert (np.diff(found.rows) > 0).all()
    assert found.clusters.shape == (4, 90)


def test_known_neighbors_are_used() -> None:
    rows = features(3, 30)
    # Itself first, then anybody: such a graph has no groups.
    drawn = np.random.default_rng(0).integers(0, 90, (90, 10))
    anybody = np.concatenate([np.arange(90)[:, np.newaxis], drawn], axis=1)
    plain = suggest_clusters(rows, largest=3, training=_QUICK)
    other = suggest_clusters(rows, largest=3, neighbors=anybody, training=_QUICK)
    assert plain.curves.modularity[1] == pytest.approx(2 / 3)
    assert (other.curves.modularity < 0.4).all()


def test_the_number_for_a_run() -> None:
    assert suggested_number(features(3, 12)) == 3


@pytest.mark.parametrize(
    ("rows", "ends", "message"),
    [
        (features(), (5, 3), "from 5 to 3"),
        (features(), (2, 13), "at most 12 clusters"),
        (features(4, 30, 0.0), (2, 5), "at most 4"),
        (np.ones((50, 4)), (2, 5), "same direction"),
        (features(2, 10), (2, None), "at least 30. Received: 20"),
        (np.full((40, 3), np.nan), (2, 4), "120 values that are not finite"),
        (np.ones(30), (2, 3), r"shape \(30,\)"),
    ],
)
def test_refuses_in_one_sentence(
    rows: np.ndarray, ends: tuple[int, int | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        suggest_clusters(rows, smallest=ends[0], largest=ends[1])


@given(seed=st.integers(0, 99), places=st.integers(1, 20), tolerance=st.floats(0.0, 0.9))
def test_the_interval_is_the_stretch_around_the_best(
    seed: int, places: int, tolerance: float
) -> None:
    score = np.random.default_rng(seed).random(places) + 0.01
    low, high = as_good(score, tolerance)
    assert low <= score.argmax() <= high
    bound = (1.0 - tolerance) * score.max()
    assert (score[low : high + 1] >= bound).all()
    assert low == 0 or score[low - 1] < bound
    assert high == places - 1 or score[high + 1] < bound


@given(seed=st.integers(0, 99))
def test_agreement_of_halves_is_the_best_pair(seed: int) -> None:
    halves = np.random.default_rng(seed).integers(0, 3, (2, 2, 12))
    halves[:, :, :2] = (0, 1)  # at least two clusters each
    pairs = [
        reference.adjusted_rand_index(one.tolist(), other.tolist())
        for one in halves[0]
        for other in halves[1]
    ]
    assert halves_agreement(halves) == pytest.approx(max(pairs), abs=1e-12)

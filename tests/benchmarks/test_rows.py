"""Every row can be described, and its parts compute what they say."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    arithmetic,
    decoding,
    feature_extraction,
    fixmatch_step,
    head_training,
    moco_step,
    moco_views,
    neighbor_search,
    neighbors,
    scaling,
    self_iteration,
    steps,
    strong_policy,
)
from benchmarks.data import embeddings, images
from benchmarks.harness import Comparison
from benchmarks.run import LONG_ROWS, ROWS
from spice_keras import runtime

_COMPARISONS = [
    moco_step.comparison(),
    fixmatch_step.comparison(),
    feature_extraction.comparison(),
    self_iteration.comparison(),
    head_training.comparison(),
    strong_policy.comparison(32),
    strong_policy.comparison(96),
    moco_views.comparison(),
    neighbors.comparison(16_000),
    decoding.comparison(5000),
]


@pytest.mark.parametrize("comparison", _COMPARISONS, ids=lambda comparison: comparison.name)
def test_rows_are_whole(comparison: Comparison) -> None:
    names = [contender.name for contender in comparison.contenders]
    assert comparison.name in ROWS + LONG_ROWS
    assert comparison.rounds >= 7
    assert len(set(names)) == len(names)
    assert all({target.ours, target.against} <= set(names) for target in comparison.targets)


_OF_A_RUN = (moco_step, fixmatch_step, feature_extraction, self_iteration, head_training)


@pytest.fixture(params=["bfloat16", "float32"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The rows as they are on a processor where a run takes this precision."""
    monkeypatch.setattr(runtime, "has_bfloat16", lambda: request.param == "bfloat16")
    for module in (steps, *_OF_A_RUN):
        importlib.reload(module)
    yield request.param
    monkeypatch.undo()
    for module in (steps, *_OF_A_RUN):
        importlib.reload(module)


def test_rows_measure_what_a_run_would_take_and_float32(precision: str) -> None:
    for comparison in (module.comparison() for module in _OF_A_RUN):
        test_rows_are_whole(comparison)
        taken = [each.options.get("precision") for each in comparison.contenders]
        assert taken[0] == precision
        assert set(taken) - {None} == {precision, "float32"}
        names = " ".join(each.name for each in comparison.contenders)
        assert ("bfloat16" in names) == (precision == "bfloat16")


def test_heads_take_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ITEMS": 200, "DIM": 8, "SAMPLES": 100, "BATCH": 20}.items():
        monkeypatch.setattr(head_training, name, value)
    losses = [head_training.ours("float32")(), head_training.ours("float32", keras_adam=True)()]
    assert np.isfinite(losses).all()


def test_growth_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SAMPLES": 100, "STEPS": 2, "NEIGHBORS": 10}.items():
        monkeypatch.setattr(scaling, name, value)
    found = scaling.our_steps(300)
    assert found.keys() == {scaling.SELF, scaling.EXACT, scaling.CONSISTENCY}
    assert all(cost["seconds"] > 0.0 for cost in found.values())
    assert 0.0 <= scaling.approximate_search(300)["recall"] <= 1.0
    assert scaling.whole_fit(300)["seconds"] > 0.0


def test_data_are_the_same_in_every_process() -> None:
    np.testing.assert_array_equal(images(3, 10), images(3, 10))
    assert images(3, 10).shape == (3, 10, 10, 3)
    assert len(np.unique(images(3, 10))) > 50
    rows = embeddings(20, 8)
    np.testing.assert_array_equal(rows, embeddings(20, 8))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)


def test_repeated_features_lie_where_their_neighbors_do() -> None:
    features = np.random.default_rng(0).standard_normal((40, 12)) + 3.0
    rows = neighbor_search.repeated(features, 100, 8)
    assert rows.shape == (100, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(rows, neighbor_search.repeated(features, 100, 8))


def test_operations_of_a_convolution() -> None:
    # 3 x 3 x 2 weights for each of 4 filters, at 5 x 6 places: a product and a sum each.
    assert arithmetic.operations([((3, 3, 2, 4), (None, 5, 6, 4))]) == 2 * 3 * 3 * 2 * 4 * 5 * 6


def test_shared_neighbours_are_counted_without_order() -> None:
    first, second = np.array([[0, 1, 2, 3]]), np.array([[3, 2, 9, 0]])
    assert neighbors.shared(first, second) == 0.75


def test_the_second_time_reads_what_the_first_stored(tmp_path: Path) -> None:
    folder = decoding.Folder(tmp_path, 3)
    folder.decode()
    assert folder.open() == np.load(folder.stored).sum() > 0

"""Few rows, equal rows, rows without a direction: a result, or a refusal that says why."""

from __future__ import annotations

import math
import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, seed, settings
from sklearn.exceptions import ConvergenceWarning

from spice_keras import SpiceClusterer
from spice_keras.config import load_config
from spice_keras.config.plan import make_plan
from spice_keras.heads.losses import has_diverged
from spice_keras.options import fewest_items, neighbors_tell


def fitted(rows: np.ndarray, clusters: int, **options: Any) -> SpiceClusterer:
    chosen = {"n_heads": 2, "epochs": 1, "random_state": 0} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SpiceClusterer(clusters, **chosen).fit(rows)


def rows_of(kind: str, count: int, dim: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return {
        "noise": noise,
        "equal": np.tile(noise[:1], (count, 1)),
        "zeros": np.zeros((count, dim), np.float32),
        "two": noise[np.arange(count) % 2],
        "tiny": noise * 1e-30,
        "huge": noise * 1e18,
        "positive": np.abs(noise),
    }[kind]


@seed(14)
@settings(max_examples=5, deadline=None, database=None)
@given(
    kind=st.sampled_from(["noise", "equal", "zeros", "two", "tiny", "huge", "positive"]),
    count=st.integers(2, 14),
    dim=st.integers(1, 6),
    share=st.floats(0, 1),
    options=st.fixed_dictionaries(
        {
            "objective": st.sampled_from(["neighbors", "prototypes"]),
            "start": st.sampled_from(["random", "kmeans", "mixed"]),
            "batch_size": st.sampled_from([1, 7, 500]),
        }
    ),
)
def test_every_small_fit_ends_well(
    kind: str, count: int, dim: int, share: float, options: dict[str, Any]
) -> None:
    clusters = 1 + round(share * (count - 1))
    found = fitted(rows_of(kind, count, dim), clusters, **options)
    assert found.labels_.shape == (count,)
    assert 0 <= found.labels_.min() <= found.labels_.max() < clusters
    assert math.isfinite(found.loss_)
    assert np.isfinite(found.predict_proba(rows_of(kind, count, dim))).all()


@pytest.mark.parametrize("rate", [1e3, 1e6, 1e30])
def test_a_learning_rate_without_measure_stops_with_a_sentence(rate: float) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 8))
    with pytest.raises(ValueError, match=r"diverged.*Lower the learning rate.*learning_rate="):
        fitted(rows, 5, learning_rate=rate, epochs=3)


def test_only_losses_beyond_all_measure_have_diverged() -> None:
    for clusters in (2, 10, 1000):
        knows_nothing = math.log(clusters)
        assert not has_diverged(knows_nothing, clusters)
        assert not has_diverged(-2 * knows_nothing, clusters)
        assert has_diverged(6 * knows_nothing, clusters) or clusters == 2
        for loss in (math.inf, math.nan, 1.5e28):
            assert has_diverged(loss, clusters)


@pytest.mark.parametrize(
    ("items", "clusters", "tell"), [(40, 12, False), (47, 12, False), (48, 12, True), (5, 2, False)]
)
def test_four_items_a_cluster_are_enough_to_ask_neighbors(
    items: int, clusters: int, tell: bool
) -> None:
    assert neighbors_tell(items, clusters) is tell
    assert (items >= fewest_items(clusters)) is tell
    found = {"num_clusters": clusters, "data.source": "embeddings", "data.path": "x.npy",
             "semi.enabled": False, "self.objective": "neighbors"}  # fmt: skip
    plan = make_plan(load_config(overrides=found), items)
    assert plan.reliable.num_neighbors >= 2  # one of them is the item itself
    assert any("cannot be told" in note for note in plan.notes) is not tell

"""Very many items: what is judged on a draw, found on a draw, or asked block by block."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.heads import objectives
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.losses import neighbor_head_losses
from spice_keras.heads.objectives import (
    HeadOptions,
    PrototypeOptions,
    SelfLabeling,
    neighbor_labeling,
    prototype_labeling,
)
from spice_keras.heads.selection import (
    HeadHistory,
    HeadSelection,
    head_clusters,
    head_logits,
    logit_blocks,
)
from tests.models.synthetic import CLUSTERS, blobs

_COUNT, _FITTING = 3000, 1200
_FEATURES, _BLOBS = blobs(_COUNT, spread=0.3)
_HEADS = HeadOptions(CLUSTERS, num_heads=2, start="kmeans", epochs=2, seed=4)


@pytest.fixture(scope="module")
def bank() -> FeatureBank:
    return unit_feature_bank(_FEATURES, for_heads=5, for_reliability=8)


@pytest.fixture(scope="module")
def few(bank: FeatureBank) -> SelfLabeling:
    """An objective whose logits of all items would not fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_JUDGED_BYTES", 4 * 2 * CLUSTERS * _FITTING)
        return neighbor_labeling(bank, _HEADS)


@pytest.fixture(scope="module")
def whole(bank: FeatureBank) -> SelfLabeling:
    return neighbor_labeling(bank, _HEADS)


def test_all_items_are_judged_if_their_logits_fit(bank: FeatureBank, whole: SelfLabeling) -> None:
    assert len(whole.judged) == 0
    assert whole.judged_features(bank.features) is bank.features


def test_a_draw_is_judged_by_all_neighbours_of_its_items(
    bank: FeatureBank, few: SelfLabeling, whole: SelfLabeling
) -> None:
    assert 0 < len(few.judged) <= _FITTING
    assert len(np.unique(few.judged)) == len(few.judged)
    logits = head_logits(whole.model, bank.features)
    found = few.losses(logits[:, few.judged])
    # The same by hand: the items that were drawn, and their own neighbours, among all.
    first = few.judged[: _FITTING // (1 + bank.head_neighbors.shape[1])]
    assert (np.diff(first) > 0).all()
    scores = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    for head, loss in zip(np.exp(scores), found, strict=True):
        same = np.einsum("nk,nmk->nm", head[first], head[bank.head_neighbors[first]])
        mean = head[first].mean(axis=0)
        expected = -np.log(same).mean() + 0.7 * (mean * np.log(mean)).sum()
        assert loss == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(found, whole.losses(logits), atol=0.1)


def test_neighbours_of_the_first_items_alone_may_be_given(bank: FeatureBank) -> None:
    logits = np.random.default_rng(0).normal(size=(2, _COUNT, CLUSTERS)).astype(np.float32)
    near = np.random.default_rng(1).integers(0, 50, (50, 5))
    expected = neighbor_head_losses(logits[:, :50], near, 0.7)
    np.testing.assert_allclose(neighbor_head_losses(logits, near, 0.7), expected, rtol=1e-6)
    found = neighbor_head_losses(logits, near, 0.7, block_size=7)  # the last block is of one
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="for the samples of"):
        neighbor_head_losses(logits[:, :40], near, 0.7)


def test_prototypes_are_judged_on_a_draw_too(
    bank: FeatureBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "_JUDGED_BYTES", 4 * 2 * CLUSTERS * _FITTING)
    labeling = prototype_labeling(bank, _HEADS, PrototypeOptions(large_batch=90, hidden_dim=4))
    assert len(labeling.judged) == _FITTING
    features = labeling.judged_features(bank.features)
    losses = labeling.losses(head_logits(labeling.model, features))
    assert losses.shape == (2,)
    assert np.isfinite(losses).all()


def test_clusters_come_by_blocks(bank: FeatureBank, whole: SelfLabeling) -> None:
    logits = head_logits(whole.model, bank.features)
    np.testing.assert_array_equal(head_clusters(whole.model, bank.features), logits.argmax(axis=2))
    for rows, block in logit_blocks(whole.model, bank.features):
        np.testing.assert_array_equal(block, logits[:, rows])


def test_the_choice_asks_all_items_for_their_clusters(bank: FeatureBank, few: SelfLabeling) -> None:
    selection = HeadSelection(
        bank.features, few.losses, history=HeadHistory(1), scores=few.scores, rows=few.judged
    )
    selection.set_model(few.model)
    selection.set_params({"epochs": 1})
    selection.on_epoch_end(0)
    clusters = head_clusters(few.model, bank.features)
    assert selection.choice.head in (0, 1)
    np.testing.assert_array_equal(selection.past()["assignments"][0], clusters)
    expected = few.losses(head_logits(few.model, bank.features[few.judged]))
    assert selection.choice.loss == expected[selection.choice.head]


def test_starts_are_found_on_a_draw(bank: FeatureBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_STARTED_ROWS", 500)
    asked: list[int] = []
    found = objectives.start_clusters

    def counted(part: FeatureBank, *arguments: object, **options: object) -> object:
        asked.append(len(part.features))
        assert part.normalized.shape == part.features.shape
        return found(part, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(objectives, "start_clusters", counted)
    labeling = neighbor_labeling(bank, _HEADS)
    assert asked == [500]
    for clusters in head_clusters(labeling.model, bank.features):
        assert len(np.unique(clusters)) == CLUSTERS
        pairs = np.unique(np.stack([clusters, _BLOBS]), axis=1)
        assert pairs.shape[1] < 2 * CLUSTERS, "each start's cluster is mostly one blob"

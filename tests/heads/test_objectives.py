"""The two objectives bound to a feature bank: sizes, starts, what heads are judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import adjusted_rand_score

from spice_keras.clustering.balanced_kmeans import balanced_kmeans
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.losses import head_losses, neighbor_head_losses
from spice_keras.heads.neighbor_clustering import NeighborClustering
from spice_keras.heads.objectives import (
    HeadOptions,
    PrototypeOptions,
    SelfLabeling,
    neighbor_labeling,
    prototype_labeling,
    refinement,
)
from spice_keras.heads.selection import HeadSelection, head_logits
from spice_keras.options import SelfVariant, Sizes, Start, evenness_of_heads
from tests.models.synthetic import CLUSTERS, blobs, encoder

_COUNT = 90
_FEATURES, _BLOBS = blobs(_COUNT, spread=0.5)
_HEADS = HeadOptions(CLUSTERS, num_heads=3, epochs=2, seed=4)
_STARTS: list[Start] = ["kmeans", "balanced-kmeans"]


@pytest.fixture(scope="module")
def bank() -> FeatureBank:
    return unit_feature_bank(_FEATURES, for_heads=5, for_reliability=8)


def _small_prototypes(bank: FeatureBank, heads: HeadOptions, **options: Any) -> SelfLabeling:
    chosen: dict[str, Any] = {"large_batch": 45, "hidden_dim": 8} | options
    images = {name: chosen.pop(name, None) for name in ("encoder", "image_batches")}
    return prototype_labeling(bank, heads, PrototypeOptions(**chosen), **images)


_MAKERS = [neighbor_labeling, _small_prototypes]
both = pytest.mark.parametrize("make", _MAKERS, ids=["neighbors", "prototypes"])


def _restarts(bank: FeatureBank, start: Start) -> np.ndarray:
    """Clusters that the heads start from, [H, N]."""
    if start == "balanced-kmeans":
        return balanced_kmeans(bank.normalized, CLUSTERS, seed=4, num_init=3).clusters
    seeds = np.random.default_rng(4).integers(2**31, size=3)
    return np.stack(
        [kmeans_clusters(bank.normalized, CLUSTERS, seed=seed, num_init=1) for seed in seeds]
    )


def _logits(labeling: SelfLabeling, bank: FeatureBank) -> np.ndarray:
    return head_logits(labeling.model, bank.features)


def _batches(data: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return list(data.as_numpy_iterator())


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "items", "steps"), [(20, 20, 4), (30, 30, 3), (45, 45, 2), (90, 90, 1), (256, 90, 1)]
)
def test_a_batch_is_never_larger_than_the_data(
    bank: FeatureBank, asked: int, items: int, steps: int
) -> None:
    neighbors = neighbor_labeling(bank, _HEADS, batch_size=asked)
    prototypes = _small_prototypes(bank, _HEADS, large_batch=asked)
    for labeling, names in (
        (neighbors, {"anchor", "neighbor"}),
        (prototypes, {"embedding", "weak", "strong"}),
    ):
        assert (labeling.items_per_step, labeling.steps_per_epoch) == (items, steps)
        found = _batches(labeling.batches(0))
        assert len(found) == _HEADS.epochs * steps
        assert found[0].keys() == names
        assert all(value.shape[0] == items for value in found[0].values())


@both
def test_batches_go_on_at_an_epoch(make: Callable[..., SelfLabeling], bank: FeatureBank) -> None:
    labeling = make(bank, replace(_HEADS, epochs=3), batch_size=45)
    whole, end = _batches(labeling.batches(0)), _batches(labeling.batches(2))
    assert len(whole) == 3 * labeling.steps_per_epoch
    assert len(end) == labeling.steps_per_epoch
    for name, values in end[-1].items():
        np.testing.assert_array_equal(values, whole[-1][name])


def _after_a_step(
    make: Callable[..., SelfLabeling], bank: FeatureBank, heads: HeadOptions, **options: Any
) -> np.ndarray:
    """The heads' logits after one step, [H, N, K]."""
    labeling = make(bank, heads, **options)
    labeling.model.run_eagerly = True
    labeling.model.fit(labeling.batches(0).take(1), shuffle=False, verbose=0)
    return _logits(labeling, bank)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (neighbor_labeling, {"learning_rate": 0.25}),
        (neighbor_labeling, {"seed": 5}),
        (neighbor_labeling, {"entropy_weight": 3.5}),
        (_small_prototypes, {"learning_rate": 0.25}),
        (_small_prototypes, {"seed": 5}),
        (_small_prototypes, {"confident_ratio": 0.25}),
        (_small_prototypes, {"batch_size": 7}),
        (_small_prototypes, {"num_repeats": 2}),
        (_small_prototypes, {"hidden_dim": 16}),
    ],
)
def test_each_option_changes_what_is_trained(
    make: Callable[..., SelfLabeling], change: dict[str, Any], bank: FeatureBank
) -> None:
    of_heads = {name: change[name] for name in ("learning_rate", "seed") if name in change}
    options = {name: value for name, value in change.items() if name not in of_heads}
    usual = _after_a_step(make, bank, _HEADS)
    changed = _after_a_step(make, bank, replace(_HEADS, **of_heads), **options)
    assert usual.shape == changed.shape == (3, _COUNT, CLUSTERS)
    assert not np.allclose(usual, changed, rtol=1e-3)
    np.testing.assert_array_equal(usual, _after_a_step(make, bank, _HEADS))


def test_how_many_features_go_through_at_once_changes_no_result(bank: FeatureBank) -> None:
    whole, blocks = (
        _after_a_step(_small_prototypes, bank, _HEADS, **options)
        for options in ({}, {"feature_batch": 9})
    )
    np.testing.assert_allclose(blocks, whole, rtol=1e-3, atol=1e-4)


# --- starts ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("start", _STARTS)
def test_each_head_starts_at_a_restart_of_its_own(
    make: Callable[..., SelfLabeling], start: Start, bank: FeatureBank
) -> None:
    labeling = make(bank, replace(_HEADS, start=start))
    expected = _restarts(bank, start)
    assert expected.shape == (3, _COUNT)
    for head, clusters in zip(_logits(labeling, bank).argmax(axis=2), expected, strict=True):
        # Not exactly the same: Sinkhorn's balance is no part of a head, and the hidden ones learn.
        assert np.mean(head == clusters) > 0.85


@pytest.mark.parametrize("start", _STARTS)
def test_a_start_with_a_hidden_layer(start: Start, bank: FeatureBank) -> None:
    labeling = neighbor_labeling(bank, replace(_HEADS, start=start), hidden_dim=16)
    assert not labeling.model.classifier.linear
    for head in _logits(labeling, bank).argmax(axis=2):
        assert adjusted_rand_score(_BLOBS, head) > 0.8


@both
def test_a_random_start_leaves_the_drawn_weights(
    make: Callable[..., SelfLabeling], bank: FeatureBank
) -> None:
    drawn = make(bank, _HEADS).model.classifier.get_weights()
    again = make(bank, _HEADS).model.classifier.get_weights()
    other = make(bank, replace(_HEADS, seed=5)).model.classifier.get_weights()
    started = make(bank, replace(_HEADS, start="kmeans")).model.classifier.get_weights()
    for one, same in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(drawn[0], other[0])
    assert not np.array_equal(drawn[0], started[0])


@both
def test_a_start_leaves_the_optimizer_fresh(
    make: Callable[..., SelfLabeling], bank: FeatureBank
) -> None:
    model = make(bank, replace(_HEADS, start="kmeans")).model
    assert int(model.optimizer.iterations) == 0
    moments = [v for v in model.optimizer.variables if v.shape in {w.shape for w in model.weights}]
    moments = [v for v in moments if v.shape]
    assert moments
    assert not any(np.any(np.asarray(moment)) for moment in moments)


# --- losses, views, training -----------------------------------------------------------------


def test_heads_are_judged_by_the_loss_they_are_trained_with(bank: FeatureBank) -> None:
    logits = np.random.default_rng(0).normal(size=(3, _COUNT, CLUSTERS)).astype(np.float32)
    np.testing.assert_array_equal(
        neighbor_labeling(bank, _HEADS, entropy_weight=1.5).losses(logits),
        neighbor_head_losses(logits, bank.head_neighbors, 1.5),
    )
    np.testing.assert_array_equal(
        _small_prototypes(bank, _HEADS, confident_ratio=0.25).losses(logits),
        head_losses(bank.normalized, logits, 0.25),
    )


def test_cached_views_reach_the_batches(bank: FeatureBank) -> None:
    """Weak views are labelled and strong ones trained on; neighbours see all of them."""
    viewed = replace(
        bank,
        weak=np.full((2, *bank.features.shape), 2.0, np.float16),
        strong=np.full((2, *bank.features.shape), 3.0, np.float16),
    )

    def marks(values: np.ndarray) -> set[float]:
        return {float(value) for value in values[:, 0] if value in (2.0, 3.0)}

    batch = _batches(_small_prototypes(viewed, _HEADS, large_batch=90).batches(0))[0]
    assert [marks(batch[name]) for name in ("embedding", "weak", "strong")] == [set(), {2.0}, {3.0}]
    pair = _batches(neighbor_labeling(viewed, _HEADS, batch_size=90).batches(0))[0]
    assert marks(pair["anchor"]) == marks(pair["neighbor"]) == {2.0, 3.0}


def test_an_encoder_takes_batches_of_images(bank: FeatureBank) -> None:
    asked: list[int] = []

    def images(first_epoch: int) -> tf.data.Dataset:
        asked.append(first_epoch)
        return tf.data.Dataset.range(1)

    network = encoder()
    labeling = _small_prototypes(bank, _HEADS, encoder=network, image_batches=images)
    assert labeling.model.encoder is network
    labeling.batches(1)
    assert asked == [1]


@both
def test_training_finds_the_blobs(make: Callable[..., SelfLabeling], bank: FeatureBank) -> None:
    heads = replace(_HEADS, start="balanced-kmeans", epochs=4)
    labeling = make(bank, heads, batch_size=30)
    before = labeling.losses(_logits(labeling, bank))
    labeling.model.fit(
        labeling.batches(0),
        epochs=4,
        steps_per_epoch=labeling.steps_per_epoch,
        verbose=0,
        shuffle=False,
    )
    after = labeling.losses(_logits(labeling, bank))
    assert after.min() < before.min()
    best = _logits(labeling, bank)[after.argmin()].argmax(axis=1)
    assert adjusted_rand_score(_BLOBS, best) > 0.95


# --- refinement ------------------------------------------------------------------------------


def test_refinement_goes_on_from_trained_heads_and_as_many_from_k_means(bank: FeatureBank) -> None:
    trained = _small_prototypes(bank, replace(_HEADS, seed=9), hidden_dim=8).model.classifier
    labeling = refinement(
        bank, _HEADS, trained.get_weights(), hidden_dim=8, entropy_weight=1.5, batch_size=30
    )
    assert isinstance(labeling.model, NeighborClustering)
    assert (labeling.model.num_heads, labeling.model.entropy_weight) == (6, 1.5)
    assert (labeling.items_per_step, labeling.steps_per_epoch) == (30, 3)
    clusters = _logits(labeling, bank).argmax(axis=2)
    before = np.asarray(trained(bank.features)).argmax(axis=2)
    np.testing.assert_array_equal(clusters[:3], before)
    for head in clusters[3:]:
        assert adjusted_rand_score(_BLOBS, head) > 0.8


def test_refined_heads_are_as_wide_as_the_features_if_no_width_is_given(bank: FeatureBank) -> None:
    trained = _small_prototypes(bank, _HEADS, hidden_dim=None).model.classifier
    labeling = refinement(bank, _HEADS, trained.get_weights(), hidden_dim=None)
    assert labeling.model.hidden_dim == bank.features.shape[1]


# --- uneven clusters -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uneven_groups() -> np.ndarray:
    return np.repeat([0, 1, 2], [96, 24, 12])


@pytest.fixture(scope="module")
def uneven_bank(uneven_groups: np.ndarray) -> FeatureBank:
    """Three groups of 96, 24 and 12 items, the large one a long ridge."""
    generator = np.random.default_rng(0)
    rows = 0.15 * generator.standard_normal((len(uneven_groups), 6))
    rows += 2.0 * np.eye(3, 6)[uneven_groups]
    rows[:96, 3] += np.linspace(-0.6, 0.6, 96)
    rows = generator.permutation(np.column_stack([rows, uneven_groups]))
    uneven_groups[:] = rows[:, -1]
    return unit_feature_bank(rows[:, :-1].astype(np.float32), for_heads=5, for_reliability=8)


def _trained_prototypes(
    bank: FeatureBank, sizes: Sizes, epochs: int = 8
) -> tuple[SelfLabeling, np.ndarray, HeadSelection]:
    heads = HeadOptions(3, num_heads=3, epochs=epochs, learning_rate=0.01, seed=1, start="kmeans")
    labeling = _small_prototypes(
        bank, heads, large_batch=132, batch_size=32, variant=SelfVariant(sizes=sizes)
    )
    selection = HeadSelection(bank.features, labeling.losses, scores=labeling.scores)
    labeling.model.fit(
        labeling.batches(0), epochs=epochs, steps_per_epoch=1, verbose=0, callbacks=[selection]
    )
    labeling.model.classifier.set_weights(selection.choice.weights)
    return labeling, _logits(labeling, bank), selection


def test_prototypes_that_claim_by_size_find_uneven_groups(
    uneven_bank: FeatureBank, uneven_groups: np.ndarray
) -> None:
    found = {}
    for sizes in ("even", "uneven"):
        labeling, logits, selection = _trained_prototypes(uneven_bank, sizes)
        assert labeling.scores is None
        clusters = logits[selection.choice.head].argmax(axis=1)
        found[sizes] = adjusted_rand_score(uneven_groups, clusters)
    assert found["uneven"] > 0.95
    assert found["uneven"] > found["even"] + 0.2


def test_auto_trains_prototypes_for_both_from_the_same_starts(
    uneven_bank: FeatureBank, uneven_groups: np.ndarray
) -> None:
    heads = HeadOptions(3, num_heads=3, epochs=1, seed=1, start="kmeans")
    start = _small_prototypes(uneven_bank, heads, variant=SelfVariant(sizes="auto"))
    at_start = _logits(start, uneven_bank).argmax(axis=2)
    assert start.model.evenness == (1.0,) * 3 + (0.0,) * 3
    assert np.mean(at_start[:3] == at_start[3:]) > 0.95
    _, logits, selection = _trained_prototypes(uneven_bank, "auto")
    assert selection.choice.head >= 3, "those for uneven clusters separate better"
    clusters = logits[selection.choice.head].argmax(axis=1)
    assert adjusted_rand_score(uneven_groups, clusters) > 0.95


def test_heads_that_cannot_be_parted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"even number of heads.*Received: num_heads=3"):
        evenness_of_heads("auto", 3)

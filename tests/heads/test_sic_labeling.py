"""SIC bound to a feature bank: options, starts, losses, and a drawn world that it must explain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.clustering.neighbors import euclidean_neighbors
from spice_keras.errors import UserError
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.losses import neighbor_head_losses
from spice_keras.heads.objectives import (
    HeadOptions,
    SelfLabeling,
    SemanticOptions,
    neighbor_labeling,
    sic_labeling,
)
from spice_keras.heads.selection import HeadSelection, head_logits
from spice_keras.heads.semantic_clustering import MakeSemanticCenters, SemanticClustering
from spice_keras.heads.starts import start_at_centers
from spice_keras.words.coverage import cover_with_words
from spice_keras.words.guide import WordGuide
from spice_keras.words.probabilities import word_probabilities
from spice_keras.words.vocabulary import Vocabulary
from tests.heads.drawn_world import KINDS, World, draw_world
from tests.reference import neighbor_consistency as neighbor_twin
from tests.reference import semantic_centers as twin

_HEADS = HeadOptions(KINDS, num_heads=2, epochs=2, seed=4)


def _bank(features: np.ndarray) -> FeatureBank:
    """The features as they are, as a run has them."""
    unit = unit_feature_bank(features, for_heads=20, for_reliability=21)
    return replace(unit, features=features, space=FeatureSpace("unit"))


@pytest.fixture(scope="module")
def world() -> World:
    return draw_world(0)


@pytest.fixture(scope="module")
def bank(world: World) -> FeatureBank:
    return _bank(world.features)


def _make(bank: FeatureBank, world: World, heads: HeadOptions, **options: Any) -> SelfLabeling:
    return sic_labeling(bank, heads, SemanticOptions(**options), world.vectors)


def _train(labeling: SelfLabeling, bank: FeatureBank, epochs: int) -> HeadSelection:
    selection = HeadSelection(bank.features, labeling.losses, scores=labeling.scores)
    labeling.model.fit(
        labeling.batches(0),
        epochs=epochs,
        steps_per_epoch=labeling.steps_per_epoch,
        verbose=0,
        callbacks=[*labeling.callbacks, selection],
    )
    return selection


# --- options ---------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_released_code(bank: FeatureBank, world: World) -> None:
    labeling = _make(bank, world, HeadOptions(KINDS, num_heads=1))
    model = labeling.model
    assert isinstance(model, SemanticClustering)
    assert (model.entropy_weight, model.label_weight, model.weight_decay) == (5.0, 0.1, 1e-4)
    assert (model.temperature, model.hidden_dim, model.num_heads) == (None, None, 1)
    assert model.classifier.space.scale == "none"
    assert model.optimizer.epsilon == 1e-8
    assert (labeling.items_per_step, labeling.steps_per_epoch) == (128, len(world.kinds) // 128)


@pytest.mark.parametrize(
    "change",
    [
        {"words_per_center": 3},
        {"uniqueness": 0.5},
        {"confident_ratio": 0.2},
        {"words_per_cluster": 2},
        {"num_neighbors": 1},
        {"entropy_weight": 1.0},
        {"label_weight": 4.0},
        {"temperature": 0.5},
        {"weight_decay": 1.0},
        {"batch_size": 350},
        {"unit_features": True},
        {"sizes": "uneven"},
        {"sizes": "uneven", "entropy_weight": 5.0},
    ],
)
def test_each_option_changes_what_is_trained(
    change: dict[str, Any], bank: FeatureBank, world: World
) -> None:
    def trained(**options: Any) -> np.ndarray:
        labeling = _make(bank, world, _HEADS, **{"batch_size": 175, "label_weight": 2.0} | options)
        labeling.model.run_eagerly = True
        _train(labeling, bank, 1)
        return head_logits(labeling.model, bank.features)

    assert not np.array_equal(trained(), trained(**change))


@pytest.mark.parametrize("unit", [False, True])
def test_an_item_is_one_of_its_own_neighbors(unit: bool, bank: FeatureBank, world: World) -> None:
    narrow = replace(bank, head_neighbors=bank.head_neighbors[:, :3])
    expected = euclidean_neighbors(bank.features, 9)
    if unit:
        expected = bank.search(bank.normalized, 9)
    logits = np.random.default_rng(0).normal(size=(2, len(world.kinds), KINDS))
    logits = logits.astype(np.float32)
    for one in (bank, narrow):
        options = {"num_neighbors": 8, "unit_features": unit, "label_weight": 0.0}
        losses = _make(one, world, _HEADS, **options).losses(logits)
        np.testing.assert_allclose(losses, neighbor_head_losses(logits, expected, 5.0), rtol=1e-6)


def test_heads_are_judged_by_the_loss_they_are_trained_with(
    bank: FeatureBank, world: World
) -> None:
    labeling = _make(bank, world, _HEADS, label_weight=0.7, temperature=0.3, words_per_cluster=5)
    (callback,) = labeling.callbacks
    assert isinstance(callback, MakeSemanticCenters)
    rows = np.arange(len(world.kinds))
    logits = np.random.default_rng(0).normal(size=(2, len(rows), KINDS)).astype(np.float32)
    neighbors = euclidean_neighbors(bank.features, 21)
    vectors = world.vectors[twin.unique_words(world.vectors, 0.05)]
    expected = neighbor_head_losses(logits, neighbors, 5.0)
    for head, scores in enumerate(logits):
        centers = twin.adjusted_image_centers(bank.features, scores, 0.9)
        centers = twin.semantic_centers(vectors, twin.nearest_words(centers, vectors, 5))
        labels = twin.semantic_labels(bank.features, centers, 0.3)
        expected[head] += 0.7 * twin.image_semantic_consistency(scores, labels).mean()
    np.testing.assert_allclose(labeling.losses(logits), expected, rtol=1e-4)
    assert labeling.scores is not None
    assert np.argmax(labeling.scores(logits.argmax(axis=2), expected)) == np.argmin(expected)


def test_words_of_another_width(bank: FeatureBank, world: World) -> None:
    with pytest.raises(UserError, match="from the same model"):
        sic_labeling(bank, _HEADS, SemanticOptions(), world.vectors[:, 1:])


# --- starts ----------------------------------------------------------------------------------


def test_a_start_at_centers_is_the_softmax_of_distances(bank: FeatureBank, world: World) -> None:
    clusters = kmeans_clusters(bank.features, KINDS, seed=1, num_init=1)
    labeling = _make(bank, world, replace(_HEADS, guide=_guide(clusters)))
    logits = head_logits(labeling.model, bank.features)
    centers = [bank.features[clusters == k].mean(axis=0) for k in range(KINDS)]
    squares = np.array([[np.sum((u - m) ** 2) for m in centers] for u in bank.features])
    for head in logits:
        for row, distances in zip(head[:20], squares, strict=False):
            np.testing.assert_allclose(
                neighbor_twin.softmax(row), neighbor_twin.softmax(-0.05 * distances), rtol=1e-4
            )


@pytest.mark.parametrize("unit", [False, True])
def test_a_start_as_sure_as_asked(unit: bool, bank: FeatureBank, world: World) -> None:
    heads = replace(_HEADS, start="kmeans")
    labeling = _make(bank, world, heads, start_alpha=None, unit_features=unit)
    for head in head_logits(labeling.model, bank.features):
        surest = [max(neighbor_twin.softmax(row)) for row in head]
        assert np.mean(surest) == pytest.approx(0.7, abs=0.01)
    unchanged = _make(bank, world, _HEADS).model.classifier.get_weights()
    assert not np.array_equal(unchanged[0], labeling.model.classifier.get_weights()[0])


def test_only_linear_heads_start_at_centers(bank: FeatureBank, world: World) -> None:
    classifier = MultiHeadClassifier(2, KINDS, 4)
    classifier.build((None, bank.features.shape[1]))
    clusters = np.tile(world.kinds, (2, 1))
    with pytest.raises(ValueError, match="linear=False"):
        start_at_centers(classifier, bank.features, clusters)
    linear = MultiHeadClassifier(2, KINDS, linear=True)
    linear.build((None, bank.features.shape[1]))
    with pytest.raises(ValueError, match=r"clusters\.shape=\(1, "):
        start_at_centers(linear, bank.features, clusters[:1])
    start_at_centers(linear, bank.features, np.maximum(clusters, 1))  # cluster 0 is empty
    assert all(np.isfinite(weights).all() for weights in linear.get_weights())


def _guide(clusters: np.ndarray) -> WordGuide:
    labels = np.eye(KINDS, dtype=np.float32)[clusters]
    return WordGuide(("noun",) * KINDS, clusters, labels, fit=1.0)


def _covering(world: World) -> np.ndarray:
    nouns = tuple(f"noun {place}" for place in range(len(world.vectors)))
    vocabulary = Vocabulary(nouns, world.vectors, "drawn", temperature=0.05)
    p = word_probabilities(vocabulary, world.features)
    return cover_with_words(p, KINDS).clusters


def test_every_objective_may_start_from_covering_words(bank: FeatureBank, world: World) -> None:
    clusters = _covering(world)
    assert adjusted_rand_score(world.kinds, clusters) > 0.5
    heads = replace(_HEADS, guide=_guide(clusters), start="spectral")
    means = np.stack([bank.features[clusters == k].mean(axis=0) for k in range(KINDS)])
    distances = np.linalg.norm(bank.features[:, np.newaxis] - means, axis=2)
    sums = np.stack([bank.normalized[clusters == k].sum(axis=0) for k in range(KINDS)])
    directions = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    for labeling, expected in (
        (_make(bank, world, heads), distances.argmin(axis=1)),
        (neighbor_labeling(bank, heads), (bank.normalized @ directions.T).argmax(axis=1)),
    ):
        for head in head_logits(labeling.model, bank.features).argmax(axis=2):
            assert np.mean(head == expected) > 0.99


def test_auto_trains_and_judges_heads_for_both(bank: FeatureBank, world: World) -> None:
    even, uneven, auto = (
        _make(bank, world, _HEADS, label_weight=2.0, sizes=sizes)
        for sizes in ("even", "uneven", "auto")
    )
    assert auto.model.num_heads == 4
    assert auto.model.entropy_weight == [5.0, 5.0, 2.0, 2.0]
    assert (even.model.entropy_weight, uneven.model.entropy_weight) == (5.0, 2.0)
    logits = np.random.default_rng(0).normal(size=(4, len(world.kinds), KINDS)).astype(np.float32)
    logits[..., 0] += 1.0
    expected = [*even.losses(logits[:2]), *uneven.losses(logits[2:])]
    np.testing.assert_allclose(auto.losses(logits), expected, rtol=1e-6)
    assert auto.scores is not None
    assert np.isneginf(auto.scores(logits.argmax(axis=2), np.zeros(4))).sum() == 2


# --- a drawn world ---------------------------------------------------------------------------

_EPOCHS = 25


def _sic(world: World, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of every head after training [H, N], and the first words of each [H, K, 3]."""
    bank = _bank(world.features)
    heads = HeadOptions(KINDS, num_heads=5, epochs=_EPOCHS, learning_rate=0.01, seed=1)
    labeling = _make(bank, world, heads, **{"label_weight": 1.0, "words_per_cluster": 10} | options)
    selection = _train(labeling, bank, _EPOCHS)
    assert selection.choice.epoch == _EPOCHS - 1
    logits = head_logits(labeling.model, bank.features)
    assert selection.choice.head == np.argmin(labeling.losses(logits))
    (callback,) = labeling.callbacks
    assert isinstance(callback, MakeSemanticCenters)
    words = [callback.space.words_of(head)[:, :3] for head in logits]
    return logits.argmax(axis=2), np.array(words)


@pytest.mark.parametrize("seed", [0, 1])
def test_words_find_the_kinds_that_k_means_divides_by_style(seed: int) -> None:
    """Sizes are unequal, nouns have synonyms, and most nouns are about other things."""
    world = draw_world(seed, style=0.8)
    divided = kmeans_clusters(world.features, KINDS, seed=0, num_init=20)
    assert adjusted_rand_score(world.kinds, divided) < 0.1
    clusters, words = _sic(world)
    found = [adjusted_rand_score(world.kinds, head) for head in clusters]
    assert np.mean(found) > 0.5
    meant, pure = world.word_kinds[words], 0
    assert meant.min() >= 0  # no word about other things
    for head in range(len(clusters)):
        for cluster in np.unique(clusters[head]):
            kinds = np.bincount(world.kinds[clusters[head] == cluster], minlength=KINDS)
            if kinds.max() > 0.8 * kinds.sum():
                pure += 1
                assert meant[head, cluster, 0] == kinds.argmax()
    assert pure > 0.6 * len(clusters) * KINDS


def test_where_sic_stops_without_nouns_for_the_kinds() -> None:
    world = draw_world(0, style=0.8)
    others = world.word_kinds < 0
    ignorant = replace(world, vectors=world.vectors[others], word_kinds=world.word_kinds[others])
    clusters, _ = _sic(ignorant)
    knowing, _ = _sic(world)
    without, with_them = (
        np.mean([adjusted_rand_score(world.kinds, head) for head in each])
        for each in (clusters, knowing)
    )
    assert without < with_them - 0.2


def test_where_sic_stops_with_very_unequal_kinds() -> None:
    """Its centres and its entropy want even clusters, so it divides the largest kind."""
    clusters, words = _sic(draw_world(1, style=0.8))
    world = draw_world(1, style=0.8)
    largest = [len(np.unique(head[world.kinds == 0])) for head in clusters]
    assert max(largest) > 1
    named = [np.sum(world.word_kinds[head[:, 0]] == 0) for head in words]
    assert max(named) > 1

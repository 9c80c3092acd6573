"""Heads started at clusters: each one gives them, no surer than asked, whatever its form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.feature_bank import unit_feature_bank
from spice_keras.heads.starts import fit_heads, soften, start_at_centroids, start_clusters
from tests.models.synthetic import CLUSTERS, FEATURES, blobs, unit

_ROWS, _BLOBS = blobs(60, spread=0.3)
_CENTROIDS = unit(np.stack([_ROWS[blob == _BLOBS].mean(axis=0) for blob in range(CLUSTERS)]))


def _classifier(num_heads: int = 2, **form: Any) -> MultiHeadClassifier:
    classifier = MultiHeadClassifier(num_heads, CLUSTERS, **{"input_scale": "unit"} | form)
    classifier.build((None, FEATURES))
    return classifier


def _confidence(logits: tf.Tensor) -> np.ndarray:
    return tf.reduce_mean(tf.reduce_max(tf.nn.softmax(logits), axis=-1), axis=1).numpy()


@pytest.mark.parametrize("confidence", [0.5, 0.7, 0.95])
def test_linear_heads_start_at_the_nearest_of_their_own_centroids(confidence: float) -> None:
    classifier = _classifier(linear=True)
    own = np.stack([_CENTROIDS, _CENTROIDS[::-1]]).astype(np.float32)
    start_at_centroids(classifier, unit(_ROWS), own, confidence=confidence)
    # Heads read features of any length and see only their direction.
    logits = classifier(7.0 * _ROWS)
    for head, centroids in enumerate(own):
        nearest = (unit(_ROWS) @ centroids.T).argmax(axis=1)
        np.testing.assert_array_equal(logits[head].numpy().argmax(axis=1), nearest)
    np.testing.assert_allclose(_confidence(logits), confidence, atol=1e-3)


def test_the_scale_does_not_hang_on_how_far_cosines_spread() -> None:
    """A large part that all samples share, as in the features of a ReLU."""
    shared = np.full((1, FEATURES), 20.0, np.float32)
    rows = unit(_ROWS + shared)
    centroids = unit(_CENTROIDS + shared)
    classifier = _classifier(1, linear=True)
    start_at_centroids(classifier, rows, centroids[np.newaxis].astype(np.float32))
    logits = classifier(rows)
    np.testing.assert_allclose(_confidence(logits), 0.7, atol=1e-3)
    assert np.abs(logits).max() < 20


def test_an_empty_cluster_leaves_weights_finite() -> None:
    centroids = np.stack([_CENTROIDS[0], _CENTROIDS[1], np.zeros(FEATURES)])
    classifier = _classifier(1, linear=True)
    start_at_centroids(classifier, unit(_ROWS), centroids[np.newaxis].astype(np.float32))
    assert all(np.isfinite(weight).all() for weight in classifier.get_weights())
    np.testing.assert_allclose(_confidence(classifier(_ROWS)), 0.7, atol=1e-3)


@pytest.mark.parametrize("form", [{"linear": True}, {"hidden_dim": 8}, {"input_scale": "none"}])
def test_heads_of_any_form_are_fitted_to_clusters_of_their_own(form: dict[str, Any]) -> None:
    classifier = _classifier(**form)
    clusters = np.stack([_BLOBS, (_BLOBS + 1) % CLUSTERS])
    fit_heads(classifier, _ROWS, clusters, seed=0, learning_rate=0.01, num_steps=80, batch_size=32)
    given = classifier(_ROWS).numpy().argmax(axis=2)
    assert (given == clusters).mean() > 0.95


def test_the_seed_of_a_fit_decides() -> None:
    weights = []
    for seed in (0, 0, 1):
        classifier = _classifier(1)
        fit_heads(classifier, _ROWS, _BLOBS[np.newaxis], seed=seed, num_steps=3)
        weights.append(classifier.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("form", [{"linear": True}, {"hidden_dim": 8}])
def test_only_heads_that_are_too_sure_are_softened(form: dict[str, Any]) -> None:
    classifier = _classifier(2, **form)
    *hidden, kernel, bias = classifier.get_weights()
    sure = np.array([100.0, 0.01], np.float32)
    classifier.set_weights([*hidden, kernel * sure[:, None, None], bias * sure[:, None]])
    before = classifier(_ROWS)
    soften(classifier, before.numpy(), confidence=0.6)
    after = classifier(_ROWS)
    np.testing.assert_array_equal(np.argmax(after, axis=2), np.argmax(before, axis=2))
    assert _confidence(after)[0] == pytest.approx(0.6, abs=1e-3)
    assert _confidence(before)[1] < 0.6
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize("form", [{"linear": False}, {"linear": True, "input_scale": "none"}])
def test_refuses_centroids_for_heads_of_another_form(form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"linear={form['linear']}"):
        start_at_centroids(_classifier(1, **form), _ROWS, _CENTROIDS[np.newaxis])


def test_mixed_starts_are_half_spectral_and_half_k_means() -> None:
    bank = unit_feature_bank(_ROWS, for_heads=5, for_reliability=5)
    mixed = start_clusters(bank, "mixed", CLUSTERS, num_heads=5, seed=3)
    assert mixed is not None
    for start, rows in (("spectral", slice(0, 3)), ("kmeans", slice(3, 5))):
        count = rows.stop - rows.start
        half = start_clusters(bank, start, CLUSTERS, num_heads=count, seed=3)
        np.testing.assert_array_equal(mixed[rows], half)


def test_refuses_heads_without_weights() -> None:
    unbuilt = MultiHeadClassifier(1, CLUSTERS, linear=True, input_scale="unit")
    with pytest.raises(ValueError, match="built=False"):
        start_at_centroids(unbuilt, _ROWS, _CENTROIDS[np.newaxis])


def test_refuses_centroids_of_other_heads() -> None:
    with pytest.raises(ValueError, match=r"centroids.shape=\(1, 3, 16\)"):
        start_at_centroids(_classifier(linear=True), _ROWS, _CENTROIDS[np.newaxis])


def test_refuses_clusters_of_other_heads() -> None:
    with pytest.raises(ValueError, match=r"clusters.shape=\(1, 60\)"):
        fit_heads(_classifier(2), _ROWS, _BLOBS[np.newaxis], seed=0)

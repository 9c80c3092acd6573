"""Neighbour clustering: a step replayed head by head, blobs found, the entropy term at work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.heads.neighbor_clustering import NeighborClustering
from tests.models.contract import check_model
from tests.models.synthetic import (
    CLUSTERS,
    FEATURES,
    blobs,
    fit,
    make_neighbors,
    neighbor_batch,
)
from tests.reference import neighbor_consistency as reference


def test_contract(tmp_path: Path) -> None:
    features = tf.random.stateless_normal([4, FEATURES], [0, 1])
    check_model(lambda: NeighborClustering(3, FEATURES, num_heads=2), features, tmp_path)
    check_model(
        lambda: NeighborClustering(3, FEATURES, num_heads=2, hidden_dim=5, input_scale="none"),
        features,
        tmp_path,
    )


def _pairs(step: int) -> dict[str, np.ndarray]:
    """All samples, each with another one of its blob."""
    features, blob = blobs(90)
    generator = np.random.default_rng(step)
    others = [generator.choice(np.flatnonzero(blob == own)) for own in blob]
    return {"anchor": features, "neighbor": features[others]}


def test_finds_gaussian_blobs() -> None:
    model = make_neighbors(num_heads=5)
    history = fit(model, _pairs, range(150))
    best = int(np.argmin(model.head_losses))
    features, blob = blobs(90)
    clusters = model(features).numpy()[:, best].argmax(axis=1)
    pairs = set(zip(clusters.tolist(), blob.tolist(), strict=True))
    assert len(pairs) == len(set(clusters.tolist())) == CLUSTERS
    floor = -model.entropy_weight * math.log(CLUSTERS)  # all pairs agree, all clusters even
    assert float(model.head_losses[best]) == pytest.approx(floor, abs=0.02)
    assert history["loss"][-1] < history["loss"][0]
    assert history["cluster_entropy"][-1] > 0.95


def test_metrics_are_those_of_the_equation() -> None:
    model = make_neighbors(entropy_weight=3.0)
    batch = neighbor_batch(0)
    logits = [model.logits_by_head(batch[name]).numpy() for name in ("anchor", "neighbor")]
    history = fit(model, neighbor_batch, range(1))
    consistency = [
        reference.neighbor_consistency(anchors, neighbors).mean()
        for anchors, neighbors in zip(*logits, strict=True)
    ]
    entropy = [reference.mean_entropy(anchors) for anchors in logits[0]]
    expected = np.array(consistency) - 3.0 * np.array(entropy)
    np.testing.assert_allclose(model.head_losses, expected, rtol=1e-4)
    assert history["consistency"][0] == pytest.approx(np.mean(consistency), rel=1e-4)
    assert history["cluster_entropy"][0] == pytest.approx(np.mean(entropy) / math.log(3), rel=1e-4)
    assert history["loss"][0] == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize("hidden", [None, 7])
def test_one_step_equals_heads_trained_one_by_one(hidden: int | None) -> None:
    model = make_neighbors(hidden_dim=hidden)
    batch = neighbor_batch(0)
    after: list[list[np.ndarray]] = []
    for head in range(model.num_heads):
        network = model.classifier.head_model(head)
        optimizer = keras.optimizers.Adam(0.01)
        with tf.GradientTape() as tape:
            p, q = (tf.nn.softmax(network(batch[name])) for name in ("anchor", "neighbor"))
            mean = tf.reduce_mean(p, axis=0)
            loss = -tf.reduce_mean(tf.math.log(tf.reduce_sum(p * q, axis=1)))
            loss += model.entropy_weight * tf.reduce_sum(mean * tf.math.log(mean))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        after.append([weight.numpy() for weight in network.weights])
    fit(model, neighbor_batch, range(1))
    for head, weights in enumerate(after):
        for ours, theirs in zip(model.classifier.weights, weights, strict=True):
            np.testing.assert_allclose(ours.numpy()[head], theirs, rtol=1e-3, atol=1e-4)


def _balance(entropy_weight: float) -> float:
    """Share of the largest cluster after training on blobs of 80, 10 and 10 in a hundred."""
    generator = np.random.default_rng(0)
    blob = generator.permutation(np.repeat([0, 1, 2], [80, 10, 10]))
    noise = 0.8 * generator.normal(size=(100, FEATURES))
    features = (2.0 * np.eye(CLUSTERS, FEATURES)[blob] + noise).astype(np.float32)
    model = make_neighbors(num_heads=1, entropy_weight=entropy_weight)
    fit(model, lambda step: {"anchor": features, "neighbor": features}, range(60))
    sizes = np.bincount(model(features).numpy()[:, 0].argmax(axis=1), minlength=CLUSTERS)
    return float(sizes.max() / sizes.sum())


def test_the_entropy_weight_makes_clusters_even() -> None:
    assert _balance(20.0) < 0.5
    assert _balance(0.0) > 0.6


def test_extreme_features_leave_weights_finite() -> None:
    model = make_neighbors(input_scale="none")
    batch = {name: 1e4 * rows for name, rows in neighbor_batch(0).items()}
    history = fit(model, lambda step: batch, range(5))
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weight.numpy()).all() for weight in model.trainable_variables)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_refuses_a_negative_entropy_weight(weight: float) -> None:
    options: dict[str, Any] = {"entropy_weight": weight}
    with pytest.raises(ValueError, match=f"entropy_weight={weight}"):
        NeighborClustering(3, 5, **options)

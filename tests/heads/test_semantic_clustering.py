"""SIC: a step replayed head by head, centres made at each epoch, resumed exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.errors import UserError
from spice_keras.heads.selection import head_logits
from spice_keras.heads.semantic_clustering import MakeSemanticCenters, SemanticClustering
from spice_keras.heads.semantic_space import SemanticSpace, cluster_means, fitted_semantic_space
from tests.models.contract import check_model
from tests.models.synthetic import (
    CLUSTERS,
    FEATURES,
    batches,
    blobs,
    compiled,
    fit,
    make_semantic,
    neighbor_batch,
)
from tests.reference import neighbor_consistency as neighbor_twin
from tests.reference import semantic_centers as twin

_IMAGES, _BLOBS = blobs(60)


def _space(**options: Any) -> SemanticSpace:
    words = np.random.default_rng(3).normal(size=(40, FEATURES)).astype(np.float32)
    return fitted_semantic_space(_IMAGES, words, _BLOBS, **{"words_per_cluster": 4} | options)


def test_contract(tmp_path: Path) -> None:
    features = tf.random.stateless_normal([4, FEATURES], [0, 1])
    check_model(lambda: SemanticClustering(3, FEATURES), features, tmp_path)
    check_model(
        lambda: SemanticClustering(
            3, FEATURES, num_heads=2, hidden_dim=5, input_scale="unit", temperature=0.1
        ),
        features,
        tmp_path,
    )


@pytest.mark.parametrize("temperature", [None, 0.1])
def test_metrics_are_those_of_the_equation(temperature: float | None) -> None:
    model = make_semantic(temperature=temperature, entropy_weight=3.0, label_weight=0.7)
    batch = neighbor_batch(0)
    anchors, neighbors = (model.logits_by_head(batch[name]).numpy() for name in batch)
    centers = np.asarray(model.semantic_centers)
    history = fit(model, neighbor_batch, range(1))
    terms = np.array(
        [
            [
                neighbor_twin.neighbor_consistency(anchors[head], neighbors[head]).mean(),
                twin.image_semantic_consistency(
                    anchors[head], twin.semantic_labels(batch["anchor"], centers[head], temperature)
                ).mean(),
                neighbor_twin.mean_entropy(anchors[head]),
            ]
            for head in range(3)
        ]
    )
    expected = terms @ [1.0, 0.7, -3.0]
    np.testing.assert_allclose(model.head_losses, expected, rtol=1e-4)
    assert history["loss"][0] == pytest.approx(expected.mean(), rel=1e-4)
    names = ("consistency", "semantic_consistency", "cluster_entropy")
    means = terms.mean(axis=0) / [1.0, 1.0, math.log(CLUSTERS)]
    for name, mean in zip(names, means, strict=True):
        assert history[name][0] == pytest.approx(mean, rel=1e-3)


def test_one_step_equals_heads_trained_one_by_one() -> None:
    """The penalty is a part of the gradient, as in PyTorch's Adam."""
    model = make_semantic(weight_decay=0.5)
    batch, centers = neighbor_batch(0), np.asarray(model.semantic_centers)
    after: list[list[np.ndarray]] = []
    for head in range(model.num_heads):
        network = model.classifier.head_model(head)
        optimizer = keras.optimizers.Adam(0.01)
        labels = np.argmax(batch["anchor"] @ centers[head].T, axis=1)
        with tf.GradientTape() as tape:
            logits = network(batch["anchor"])
            p, q = tf.nn.softmax(logits), tf.nn.softmax(network(batch["neighbor"]))
            mean = tf.reduce_mean(p, axis=0)
            loss = -tf.reduce_mean(tf.math.log(tf.reduce_sum(p * q, axis=1)))
            loss += 5.0 * tf.reduce_sum(mean * tf.math.log(mean))
            cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss += tf.reduce_mean(cross)
            squares = [tf.reduce_sum(weight.value**2) for weight in network.trainable_variables]
            loss += 0.25 * tf.add_n(squares)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        after.append([weight.numpy() for weight in network.weights])
    fit(model, neighbor_batch, range(1))
    for head, weights in enumerate(after):
        for ours, theirs in zip(model.classifier.weights, weights, strict=True):
            np.testing.assert_allclose(ours.numpy()[head], theirs, rtol=1e-3, atol=1e-4)


# --- centres ---------------------------------------------------------------------------------


def test_centers_are_made_of_the_heads_at_the_start_of_each_epoch() -> None:
    model, space = make_semantic(), _space()
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            centers = np.array(self.model.semantic_centers)
            seen.append((centers, head_logits(self.model, _IMAGES)))

    model.fit(
        batches(neighbor_batch, range(3)),
        epochs=3,
        steps_per_epoch=1,
        verbose=0,
        callbacks=[MakeSemanticCenters(_IMAGES, space), Watch()],
    )
    assert len(seen) == 3
    assert not np.array_equal(seen[0][0], seen[2][0])
    for centers, logits in seen:
        for head in range(model.num_heads):
            adjusted = twin.adjusted_image_centers(_IMAGES, logits[head], 0.9)
            chosen = twin.nearest_words(adjusted, space.word_vectors, 4)
            expected = twin.semantic_centers(space.word_vectors, chosen)
            np.testing.assert_allclose(centers[head], expected, rtol=1e-4, atol=1e-5)
            words = space.words_of(logits[head])
            np.testing.assert_array_equal(words, space.words[chosen])


def test_training_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    def train(model: SemanticClustering, first: int, last: int) -> None:
        steps = range(2 * first, 2 * last)
        model.fit(
            batches(neighbor_batch, steps),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=2,
            verbose=0,
            callbacks=[MakeSemanticCenters(_IMAGES, _space())],
        )

    whole, half, rest = (make_semantic() for _ in range(3))
    train(whole, 0, 4)
    train(half, 0, 2)
    half.save_weights(tmp_path / "half.weights.h5")
    rest.load_weights(tmp_path / "half.weights.h5")
    train(rest, 2, 4)
    for ours, theirs in zip(rest.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=theirs.path)


def test_refuses_to_train_without_centers() -> None:
    model = compiled(SemanticClustering(CLUSTERS, FEATURES), keras.optimizers.Adam(0.01))
    with pytest.raises(ValueError, match="the callback MakeSemanticCenters"):
        fit(model, neighbor_batch, range(1))
    data = batches(neighbor_batch, range(1))
    model.fit(data, verbose=0, callbacks=[MakeSemanticCenters(_IMAGES, _space())])
    assert np.any(model.semantic_centers)


@pytest.mark.parametrize(
    "options",
    [{"label_weight": -1.0}, {"weight_decay": float("nan")}, {"temperature": 0.0}],
)
def test_refuses_numbers_out_of_range(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        SemanticClustering(3, 5, **options)


# --- the space -------------------------------------------------------------------------------


def test_the_space_holds_the_words_that_pass_both_filters() -> None:
    words = np.random.default_rng(3).normal(size=(40, FEATURES)).astype(np.float32)
    space = _space(words_per_center=5, uniqueness=0.8)
    centers = np.stack([_IMAGES[blob == _BLOBS].mean(axis=0) for blob in range(CLUSTERS)])
    relevant = twin.relevant_words(centers, words, 5)
    unique = twin.unique_words(words, 0.8)
    assert space.words.tolist() == sorted({*relevant} & {*unique})
    assert 0 < len(space.words) < min(len(relevant), len(unique))
    np.testing.assert_array_equal(space.word_vectors, words[space.words])


def test_clusters_without_rows_have_no_mean() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], np.float32)
    means = cluster_means(rows, np.array([4, 4, 1]))
    np.testing.assert_array_equal(means, [[9.0, 9.0], [2.0, 3.0]])


def test_words_of_another_width_and_words_all_alike() -> None:
    with pytest.raises(UserError, match=f"{FEATURES}. Received: shape \\(9, 5\\)"):
        fitted_semantic_space(_IMAGES, np.ones((9, 5), np.float32), _BLOBS)
    with pytest.raises(UserError, match="None of the 9 words"):
        fitted_semantic_space(_IMAGES, np.ones((9, FEATURES), np.float32), _BLOBS)

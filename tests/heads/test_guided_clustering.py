"""Guided clustering: the loss of its equation, a saved model, labels that decide."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.heads.guided_clustering import GuidedClustering
from spice_keras.heads.neighbor_clustering import NeighborClustering
from tests.models.contract import check_model
from tests.models.synthetic import FEATURES, blobs, fit, neighbor_batch
from tests.reference import neighbor_consistency as reference


def _made(**options: float) -> GuidedClustering:
    model = GuidedClustering(3, FEATURES, num_heads=2, seed=1, **options)
    model.compile(keras.optimizers.Adam(0.01))
    return model


def _batch(step: int) -> dict[str, np.ndarray]:
    pairs = {name: np.asarray(value) for name, value in neighbor_batch(step).items()}
    draws = np.random.default_rng(step).gamma(1.0, size=(len(pairs["anchor"]), 3))
    return pairs | {"label": (draws / draws.sum(axis=1, keepdims=True)).astype(np.float32)}


def test_contract(tmp_path: Path) -> None:
    features = tf.random.stateless_normal([4, FEATURES], [0, 1])
    check_model(lambda: GuidedClustering(3, FEATURES, num_heads=2), features, tmp_path)


def test_the_loss_is_neighbours_and_labels() -> None:
    model, batch = _made(label_weight=0.7), _batch(0)
    anchors, neighbors = (
        model.logits_by_head(batch[one]).numpy() for one in ("anchor", "neighbor")
    )
    fit(model, _batch, range(1))
    for head in range(2):
        consistency = reference.neighbor_consistency(anchors[head], neighbors[head]).mean()
        entropy = reference.mean_entropy(anchors[head])
        agreement = 0.0
        for logits, label in zip(anchors[head], batch["label"], strict=True):
            total = math.log(sum(math.exp(value) for value in logits))
            agreement -= sum(p * (v - total) for p, v in zip(label, logits, strict=True))
        expected = consistency - 0.7 * entropy + 0.7 * agreement / len(batch["label"])
        assert float(model.head_losses[head]) == pytest.approx(expected, rel=1e-4)


def test_without_weight_labels_change_nothing() -> None:
    guided = _made(label_weight=0.0)
    plain = NeighborClustering(3, FEATURES, num_heads=2, seed=1)
    plain.compile(keras.optimizers.Adam(0.01))
    fit(guided, _batch, range(3))
    fit(plain, neighbor_batch, range(3))
    for one, other in zip(guided.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_labels_say_which_cluster_is_which() -> None:
    features, blob = blobs(90)
    labels = np.eye(3, dtype=np.float32)[(blob + 1) % 3]
    batch = {"anchor": features, "neighbor": features, "label": labels}
    model = _made()
    fit(model, lambda step: batch, range(200))
    clusters = model(features).numpy().argmax(axis=2)
    assert (clusters == ((blob + 1) % 3)[:, np.newaxis]).all()


def test_batches_without_labels_and_weights_below_0_are_refused() -> None:
    with pytest.raises(ValueError, match=r"without \['label'\]"):
        _made().fit(tf.data.Dataset.from_tensors(neighbor_batch(0)), verbose=0)
    with pytest.raises(ValueError, match="label_weight=-1"):
        GuidedClustering(3, FEATURES, label_weight=-1)

"""The clusterer: the four outputs agree with each other and with the models they come from."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.models.clusterer import ClusterAssignment, build_clusterer, clusterer_from_network
from tests.models.contract import check_layer, check_model
from tests.models.synthetic import CLUSTERS, FEATURES, encoder, fit, images, make_semi, semi_batch


def _heads() -> MultiHeadClassifier:
    heads = MultiHeadClassifier(2, CLUSTERS, seed=4)
    heads.build((None, FEATURES))
    return heads


def _check_outputs(outputs: dict[str, tf.Tensor], features: tf.Tensor, logits: tf.Tensor) -> None:
    probabilities = tf.nn.softmax(logits).numpy()
    assert set(outputs) == {"cluster", "confidence", "probabilities", "embedding"}
    assert outputs["cluster"].dtype == np.int32
    np.testing.assert_allclose(outputs["probabilities"], probabilities, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outputs["cluster"], probabilities.argmax(axis=1))
    np.testing.assert_allclose(outputs["confidence"], probabilities.max(axis=1), rtol=1e-4)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["embedding"], unit, rtol=1e-4, atol=1e-6)


def test_from_a_chosen_head() -> None:
    cnn, heads, batch = encoder(), _heads(), images(5)
    features = cnn(batch)
    for head in range(2):
        outputs = build_clusterer(cnn, heads.head_model(head)).predict(batch, verbose=0)
        _check_outputs(outputs, features, heads(features)[head])


def test_from_the_averaged_network() -> None:
    model = make_semi()
    fit(model, semi_batch, range(2))
    batch = images(5)
    outputs = clusterer_from_network(model.ema_network).predict(batch, verbose=0)
    pooled = keras.Model(model.ema_network.input, model.ema_network.layers[-1].input)
    _check_outputs(outputs, pooled(batch), model(batch))


def test_later_training_of_the_heads_does_not_reach_it() -> None:
    heads, batch = _heads(), images(5)
    clusterer = build_clusterer(encoder(), heads.head_model(0))
    before = clusterer(batch)["probabilities"]
    heads.set_weights([2.0 * weight for weight in heads.get_weights()])
    np.testing.assert_array_equal(clusterer(batch)["probabilities"], before)


def test_contract(tmp_path: Path) -> None:
    check_model(lambda: build_clusterer(encoder(), _heads().head_model(1)), images(3), tmp_path)


def test_layer_contract(tmp_path: Path) -> None:
    inputs = [tf.random.stateless_normal([4, width], [width, 0]) for width in (6, 3)]
    check_layer(lambda: _OfTwo(dtype="float32"), [tf.concat(inputs, axis=1)], tmp_path)


@keras.saving.register_keras_serializable(package="tests")
class _OfTwo(keras.layers.Layer):
    """The assignment of the two parts of one input."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.assignment = ClusterAssignment(dtype="float32")
        self.built = True

    def call(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.assignment(inputs[:, :6], inputs[:, 6:])


def test_saturated_logits_give_a_finite_assignment() -> None:
    outputs = ClusterAssignment(dtype="float32")(
        tf.constant([[0.0, 0.0]]), tf.constant([[1e4, 0.0, -1e4]])
    )
    assert all(np.isfinite(value).all() for value in outputs.values())
    assert int(outputs["cluster"][0]) == 0

"""What SPICE-Self does differently in the rows of the ablation tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.backbones.normalization import FusedBatchNormalization
from spice_keras.heads.spice_self import SpiceSelf, frozen_features
from spice_keras.options import SelfVariant
from tests.models.contract import check_model
from tests.models.synthetic import (
    CLUSTERS,
    FEATURES,
    blobs,
    compiled,
    encoder,
    fit,
    images,
    make_self,
    self_batch,
    unit,
)

_STATISTICS = ("moving_mean", "moving_variance")


def _image_batch(cnn: keras.Model, count: int = 25) -> Any:
    embedding = unit(cnn(images(count)).numpy())
    return lambda step: {
        "embedding": embedding,
        "weak": images(count, 2 * step + 1),
        "strong": images(count, 2 * step + 2),
    }


def _moved(cnn: keras.Model, before: list[np.ndarray]) -> tuple[bool, bool]:
    """Whether weights, and whether batch statistics, are others than before."""
    found = {True: False, False: False}
    for variable, old in zip(cnn.weights, before, strict=True):
        statistic = variable.name in _STATISTICS
        found[statistic] |= bool(np.abs(variable.numpy() - old).max() > 1e-6)
    return found[False], found[True]


def _cnn() -> keras.Model:
    cnn = encoder()
    cnn(images(30), training=True)
    return cnn


def test_contract(tmp_path: Path) -> None:
    features = tf.random.stateless_normal([4, FEATURES], [0, 1])
    variant = SelfVariant(
        sizes="auto", loss="temperature", assignment="exclusive", entropy_weight=1.0
    )
    check_model(lambda: SpiceSelf(3, FEATURES, variant=variant), features, tmp_path)
    moving = SelfVariant(train_encoder=True, batch_norm="adapt")
    check_model(
        lambda: SpiceSelf(3, FEATURES, encoder=encoder(), variant=moving), features, tmp_path
    )


def test_the_default_is_the_paper() -> None:
    """And takes the same steps as a model that names no variant."""
    ours, named = make_self(), make_self(variant=SelfVariant())
    for model in (ours, named):
        fit(model, self_batch, range(1))
    for one, other in zip(ours.classifier.weights, named.classifier.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not SelfVariant().moves_encoder


@pytest.mark.parametrize(
    "variant",
    [
        SelfVariant(loss="softmax"),
        SelfVariant(loss="temperature"),
        SelfVariant(assignment="exclusive"),
        SelfVariant(entropy_weight=1.0),
        SelfVariant(sizes="uneven"),
    ],
    ids=str,
)
def test_each_variant_finds_gaussian_blobs_in_its_own_way(variant: SelfVariant) -> None:
    model, paper = make_self(num_repeats=4, variant=variant), make_self(num_repeats=4)
    features, blob = blobs(90)
    batch = {"embedding": unit(features), "weak": features, "strong": features}
    fit(model, lambda step: batch, range(12))
    fit(paper, lambda step: batch, range(12))
    best = int(np.argmin(model.head_losses))
    clusters = model(features).numpy()[:, best].argmax(axis=1)
    assert len(set(zip(clusters.tolist(), blob.tolist(), strict=True))) == CLUSTERS
    assert np.abs(model.classifier.weights[0].numpy() - paper.classifier.weights[0]).max() > 1e-4


@pytest.mark.parametrize(("variant", "least"), [
    (SelfVariant(loss="softmax"), 0.0),
    (SelfVariant(loss="temperature"), 0.0),
    (SelfVariant(entropy_weight=1.0), double_softmax_floor(3) - np.log(3)),
])  # fmt: skip
def test_the_loss_of_perfect_heads(variant: SelfVariant, least: float) -> None:
    features, _ = blobs(90)
    batch = {"embedding": unit(features), "weak": features, "strong": features}
    model = make_self(num_repeats=4, variant=variant)
    fit(model, lambda step: batch, range(12))
    assert float(tf.reduce_min(model.head_losses)) == pytest.approx(least, abs=0.06)


def test_a_temperature_moves_into_the_output_layer() -> None:
    variant = SelfVariant(loss="temperature", temperature=0.25)
    model, plain = make_self(variant=variant), make_self()
    features, _ = blobs(20)
    said = model.logits_by_head(features).numpy()
    np.testing.assert_allclose(said, 4.0 * model.classifier(features).numpy(), rtol=1e-6)
    plain.classifier.set_weights(model.plain_weights(model.classifier.get_weights()))
    np.testing.assert_allclose(plain.logits_by_head(features), said, rtol=1e-4, atol=1e-5)
    weights = plain.classifier.get_weights()
    for one, other in zip(plain.plain_weights(weights), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("variant", "moved"),
    [
        (SelfVariant(), (False, False)),
        (SelfVariant(batch_norm="adapt"), (False, True)),
        (SelfVariant(train_encoder=True), (True, False)),
        (SelfVariant(train_encoder=True, batch_norm="adapt"), (True, True)),
    ],
    ids=str,
)
def test_what_of_the_encoder_moves(variant: SelfVariant, moved: tuple[bool, bool]) -> None:
    cnn = _cnn()
    batch, before = _image_batch(cnn), cnn.get_weights()
    model = make_self(encoder=cnn, variant=variant)
    fit(model, batch, range(2))
    assert _moved(cnn, before) == moved
    assert variant.moves_encoder == any(moved)
    trained = {id(variable) for variable in model.trainable_variables}
    in_cnn = [id(variable) in trained for variable in cnn.trainable_variables]
    assert all(in_cnn) if variant.train_encoder else not any(in_cnn)


def test_one_trained_step_is_that_of_encoder_and_head_together() -> None:
    """One head, one batch, plain SGD: replayed on the two networks by hand."""
    cnn, twin = _cnn(), _cnn()
    batch = _image_batch(cnn)
    model = compiled(
        SpiceSelf(CLUSTERS, FEATURES, encoder=cnn, num_heads=1, batch_size=24, num_repeats=1,
                  variant=SelfVariant(loss="softmax", train_encoder=True)),
        keras.optimizers.SGD(0.5),
    )  # fmt: skip
    head = model.classifier.head_model(0)
    views = batch(0)
    probabilities = tf.nn.softmax(head(twin(views["weak"]))).numpy()
    chosen: list[int] = []
    for cluster in range(CLUSTERS):
        sure = np.argsort(-probabilities[:, cluster], kind="stable")[:4]
        similarity = views["embedding"] @ views["embedding"][sure].mean(axis=0)
        chosen += np.argsort(-similarity, kind="stable")[:8].tolist()
    variables = twin.trainable_variables + head.trainable_variables
    with tf.GradientTape() as tape:
        logits = head(twin(views["strong"][chosen], training=False))
        labels = np.repeat(np.arange(CLUSTERS), 8)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign(variable - 0.5 * gradient)
    history = fit(model, batch, range(1))
    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-4)
    for ours, theirs in zip(cnn.weights, twin.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "chunks"), [(14, 2), (15, 3), (7, 1)])
def test_moving_statistics_are_those_of_equal_chunks(count: int, chunks: int) -> None:
    """In graph mode, as a training step has it; a last chunk of one image would be all noise."""
    cnn, twin, views = _cnn(), _cnn(), images(count, 5)
    adapted = tf.function(lambda x: frozen_features(cnn, x, 7, adapt=True))(tf.constant(views))
    size = -(-count // chunks)
    expected = [twin(views[start : start + size], training=True) for start in range(0, count, size)]
    np.testing.assert_allclose(adapted, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(cnn.weights, twin.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", [
    SelfVariant(train_encoder=True), SelfVariant(batch_norm="adapt")
])  # fmt: skip
def test_refuses_an_encoder_that_cannot_move(variant: SelfVariant) -> None:
    with pytest.raises(ValueError, match="give the encoder"):
        SpiceSelf(3, FEATURES, variant=variant)
    frozen = encoder()
    frozen.trainable = False
    with pytest.raises(ValueError, match="is frozen"):
        SpiceSelf(3, FEATURES, encoder=frozen, variant=variant)
    assert any(isinstance(layer, FusedBatchNormalization) for layer in frozen.layers)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("loss", "hinge"),
        ("assignment", "greedy"),
        ("batch_norm", "moving"),
        ("temperature", 0.0),
        ("entropy_weight", -1.0),
    ],
)
def test_refuses_what_does_not_exist(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"(?s){option}.*Input should be"):
        SelfVariant(**{option: value})

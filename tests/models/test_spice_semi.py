"""SPICE-Semi: one concatenated pass, the moving average, what decays."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.models.spice_semi import SpiceSemi
from tests.models.contract import check_model
from tests.models.synthetic import CLUSTERS, encoder, fit, images, make_semi, semi_batch


def test_contract(tmp_path: Path) -> None:
    check_model(lambda: SpiceSemi(encoder(), 4, ema_momentum=0.5), images(3), tmp_path)


def test_one_step_on_one_concatenated_pass() -> None:
    """Loss, SGD step with decay on kernels only, and batch statistics, replayed by hand."""
    model, twin = make_semi(weight_decay=0.1), make_semi()
    batch = semi_batch(0)
    history = fit(model, semi_batch, range(1))
    with tf.GradientTape() as tape:
        views = np.concatenate([batch["labeled"], batch["weak"], batch["strong"]])
        logits = twin.network(views, training=True)
        log_p = tf.nn.log_softmax(logits)
        supervised = -tf.reduce_mean(tf.gather(log_p[:6], batch["label"], batch_dims=1))
        weak = tf.stop_gradient(tf.nn.softmax(logits[6:15]))
        mask = tf.cast(tf.reduce_max(weak, axis=1) >= 0.5, tf.float32)
        target = tf.argmax(weak, axis=1)
        unsupervised = -tf.reduce_mean(mask * tf.gather(log_p[15:], target, batch_dims=1))
        loss = supervised + unsupervised
    gradients = tape.gradient(loss, twin.network.trainable_variables)
    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    assert history["supervised"][0] == pytest.approx(float(supervised), rel=1e-5)
    assert history["unsupervised"][0] == pytest.approx(float(unsupervised), rel=1e-5)
    assert history["mask_ratio"][0] == pytest.approx(float(tf.reduce_mean(mask)))
    assert 0.0 < float(tf.reduce_mean(mask)) < 1.0
    for ours, start, gradient in zip(
        model.network.trainable_variables, twin.network.trainable_variables, gradients, strict=True
    ):
        gradient += 0.1 * start if ours.name == "kernel" else 0.0
        # Nesterov's first step with momentum 0.9.
        stepped = start - 0.03 * 1.9 * gradient
        np.testing.assert_allclose(ours, stepped, rtol=1e-4, atol=1e-5, err_msg=ours.path)
    for ours, theirs in zip(
        model.network.non_trainable_variables, twin.network.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_kernels_decay() -> None:
    model = make_semi()
    names = {variable.name for variable in model.decayed_variables()}
    left_out = {variable.name for variable in model.trained_variables()} - names
    assert names == {"kernel"}
    assert left_out == {"gamma", "beta", "bias"}


@pytest.mark.parametrize(("warmup", "momenta"), [(True, [0.1, 2 / 11]), (False, [0.6, 0.6])])
def test_average_covers_weights_and_statistics(warmup: bool, momenta: list[float]) -> None:
    model = make_semi(ema_momentum=0.6, ema_warmup=warmup)
    expected = model.network.get_weights()
    for step, momentum in enumerate(momenta):
        fit(model, semi_batch, range(step, step + 1))
        expected = [
            momentum * average + (1.0 - momentum) * weight
            for average, weight in zip(expected, model.network.get_weights(), strict=True)
        ]
    averaged = {weight.name for weight in model.ema_network.weights}
    assert averaged == {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}
    for ours, theirs in zip(model.ema_network.weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=ours.path)


def test_warm_up_ends_at_the_momentum_asked_for() -> None:
    model = make_semi(ema_momentum=0.6)
    model.optimizer.iterations.assign(10_000)
    assert float(model._ema_momentum()) == pytest.approx(0.6)


def test_predicts_with_the_average_and_never_trains_it() -> None:
    model = make_semi()
    fit(model, semi_batch, range(2))
    batch = images(4)
    np.testing.assert_array_equal(model(batch), model.ema_network(batch, training=False))
    np.testing.assert_array_equal(model(batch, training=True), model(batch))
    assert np.abs(model(batch) - model.network(batch)).max() > 1e-4
    trained = {id(variable) for variable in model.trainable_variables}
    assert not trained & {id(variable) for variable in model.ema_network.variables}
    np.testing.assert_allclose(model.predict(batch, verbose=0), model(batch), rtol=1e-5, atol=1e-6)


def test_encoder_is_trained_in_place() -> None:
    cnn = encoder()
    before = cnn.get_weights()
    model = SpiceSemi(cnn, CLUSTERS)
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    fit(model, semi_batch, range(1))
    assert model.encoder is cnn
    for weight, old in zip(cnn.get_weights(), before, strict=True):
        assert np.abs(weight - old).max() > 0.0


@pytest.mark.parametrize(
    "option",
    [
        {"threshold": 1.1},
        {"ema_momentum": -0.1},
        {"unlabeled_weight": -1.0},
        {"weight_decay": -1.0},
    ],
    ids=str,
)
def test_refuses_values_out_of_range(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}={next(iter(option.values()))}"):
        SpiceSemi(encoder(), CLUSTERS, **option)


def test_refuses_one_cluster() -> None:
    with pytest.raises(ValueError, match="num_clusters=1"):
        SpiceSemi(encoder(), 1)

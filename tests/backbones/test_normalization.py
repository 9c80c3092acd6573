"""Fused batch normalisation against Keras's own, split batch normalisation, pixel normalisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.backbones.normalization import FusedBatchNormalization, PixelNormalization


def _images(shape: tuple[int, ...], seed: int = 0) -> tf.Tensor:
    return tf.random.stateless_normal(shape, [seed, 1]) * 2.0 + 3.0


def _pair(channels: int) -> tuple[FusedBatchNormalization, keras.layers.BatchNormalization]:
    fused = FusedBatchNormalization(momentum=0.8, epsilon=1e-3)
    keras_own = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3)
    for layer in (fused, keras_own):
        layer.build((None, 4, 4, channels))
        layer.gamma.assign(np.linspace(0.5, 2.0, channels))
        layer.beta.assign(np.linspace(-1.0, 1.0, channels))
    return fused, keras_own


@settings(max_examples=10)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_equals_keras_in_training_and_inference(b: int, h: int, w: int, c: int) -> None:
    fused, keras_own = _pair(c)
    for step in range(3):
        x = _images((b, h, w, c), step)
        np.testing.assert_allclose(
            fused(x, training=True), keras_own(x, training=True), rtol=1e-4, atol=2e-5
        )
    np.testing.assert_allclose(fused.moving_mean, keras_own.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(
        fused.moving_variance, keras_own.moving_variance, rtol=1e-4, atol=1e-6
    )
    x = _images((b, h, w, c), 9)
    np.testing.assert_allclose(fused(x), keras_own(x), rtol=1e-4, atol=2e-5)


def test_warm_up_keeps_the_smaller_share_and_counts_the_steps() -> None:
    layer = FusedBatchNormalization(momentum=0.5, warm_up=True)
    layer.build((None, 4, 4, 2))
    mean, variance = np.zeros(2), np.ones(2)
    for step in range(12):
        x = _images((6, 4, 4, 2), step)
        layer(x, training=True)
        kept = min(0.5, (1 + step) / (10 + step))
        mean = kept * mean + (1 - kept) * np.mean(x, axis=(0, 1, 2))
        variance = kept * variance + (1 - kept) * np.var(x, axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    layer(x)
    assert float(layer.num_steps) == 12.0
    again = FusedBatchNormalization.from_config(layer.get_config())
    assert (again.momentum, again.warm_up) == (0.5, True)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_keras(training: bool) -> None:
    x, weight = _images((6, 5, 4, 3)), _images((6, 5, 4, 3), 5)
    gradients = []
    for layer in _pair(3):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(weight * tf.square(layer(x, training=training)))
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_split_equals_a_layer_for_each_group() -> None:
    split = FusedBatchNormalization(momentum=0.8, groups=3)
    x = _images((12, 4, 4, 5))
    outputs = split(x, training=True)
    means, variances = [], []
    for group in range(3):
        own = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-5)
        part = slice(4 * group, 4 * group + 4)
        np.testing.assert_allclose(outputs[part], own(x[part], training=True), rtol=1e-4, atol=1e-5)
        means.append(own.moving_mean.numpy())
        variances.append(own.moving_variance.numpy())
    np.testing.assert_allclose(split.moving_mean, np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(split.moving_variance, np.mean(variances, axis=0), rtol=1e-5)


def test_split_in_inference_uses_the_moving_statistics() -> None:
    split, whole = FusedBatchNormalization(groups=3), FusedBatchNormalization()
    x = _images((7, 2, 2, 2))
    np.testing.assert_array_equal(split(x), whole(x))


def test_split_refuses_a_batch_that_does_not_divide() -> None:
    with pytest.raises(ValueError, match=r"divisible by groups=3.*batch_size=7"):
        FusedBatchNormalization(groups=3)(_images((7, 2, 2, 2)), training=True)


def test_frozen_layer_keeps_its_statistics() -> None:
    layer = FusedBatchNormalization()
    layer.build((None, 2, 2, 2))
    layer.trainable = False
    x = _images((4, 2, 2, 2))
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(2))


def test_mixed_precision_keeps_statistics_in_float32() -> None:
    half = FusedBatchNormalization(dtype="mixed_bfloat16", groups=2)
    full = FusedBatchNormalization(groups=2)
    x = _images((8, 4, 4, 3))
    outputs = half(x, training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), full(x, training=True), rtol=0.02, atol=0.03
    )
    assert {weight.dtype for weight in half.weights} == {"float32"}
    np.testing.assert_allclose(half.moving_variance, full.moving_variance, rtol=0.01)


@pytest.mark.parametrize("arguments", [{"momentum": 1.5}, {"epsilon": 0.0}, {"groups": 0}], ids=str)
def test_refuses_values_out_of_range(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Received"):
        FusedBatchNormalization(**arguments)


def test_refuses_inputs_that_are_no_maps() -> None:
    with pytest.raises(ValueError, match=r"\[B, H, W, C\]"):
        FusedBatchNormalization()(tf.zeros([4, 3]))


@pytest.mark.parametrize(
    "layer",
    [
        FusedBatchNormalization(0.7, 1e-4, 2, name="bn"),
        PixelNormalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), name="pixels"),
    ],
    ids=lambda layer: layer.name,
)
def test_config_round_trip(layer: keras.layers.Layer) -> None:
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_pixels_are_centred_and_scaled(dtype: str) -> None:
    layer = PixelNormalization((0.5, 0.25, 0.0), (0.5, 0.25, 1.0), dtype=dtype)
    pixels = np.array([[[[0, 0, 0], [255, 255, 255], [51, 102, 153]]]], np.uint8)
    outputs = layer(pixels)
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32)[0, 0],
        [[-1.0, -1.0, 0.0], [1.0, 3.0, 1.0], [-0.6, 0.6, 0.6]],
        atol=1e-6 if dtype == "float32" else 0.01,
    )


def test_pixel_normalization_refuses_a_missing_channel() -> None:
    with pytest.raises(ValueError, match="one value per channel"):
        PixelNormalization((0.5, 0.5), (1.0, 1.0, 1.0))

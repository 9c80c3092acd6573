"""Batch normalisation merged into convolutions: the same function, and nothing merged wrongly."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from spice_keras.backbones.efficientnet_lite import efficientnet_lite
from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.backbones.normalization import FusedBatchNormalization
from tests.backbones.built import built


def _with_statistics(network: keras.Model) -> keras.Model:
    """Give every normalisation a scale, an offset and statistics that matter."""
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, FusedBatchNormalization | keras.layers.BatchNormalization):
            layer.set_weights(
                [random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
            )
    return network


def _images(side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, side, side, 3), dtype=np.uint8)


def _normalizations(network: keras.Model) -> list[str]:
    return [
        layer.name
        for layer in network.layers
        if isinstance(layer, FusedBatchNormalization | keras.layers.BatchNormalization)
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda: built("resnet18_cifar", 16, width=8),
        lambda: built("small_resnet", 16, width=8),
        lambda: efficientnet_lite("efficientnet_lite0", 32),
    ],
)
def test_the_same_function_without_normalisation(build: Callable[[], keras.Model]) -> None:
    network = _with_statistics(build())
    before = network.get_weights()
    folded = fold_batch_normalization(network)
    assert _normalizations(network)
    assert not _normalizations(folded)
    images = _images(network.input_shape[1])
    expected = network(images, training=False).numpy()
    np.testing.assert_allclose(
        folded(images).numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    assert (
        folded.get_layer("feature_map").output.shape
        == network.get_layer("feature_map").output.shape
    )


def test_an_application_of_keras_keeps_its_features() -> None:
    from spice_keras.backbones.pretrained import backbone_architecture

    network = _with_statistics(backbone_architecture("keras:MobileNetV2", image_size=32))
    folded = fold_batch_normalization(network)
    assert len(_normalizations(folded)) < len(_normalizations(network))
    images = _images(32)
    expected = network(images, training=False).numpy()
    np.testing.assert_allclose(
        folded(images).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
    )


def test_what_cannot_be_merged_stays() -> None:
    """A convolution read twice, one with an activation, and a normalisation of something else."""
    inputs = keras.Input((8, 8, 3))
    twice = keras.layers.Conv2D(4, 3, padding="same", name="twice")(inputs)
    x = FusedBatchNormalization(name="after_twice")(twice)
    x = keras.layers.Add()([x, twice])
    x = keras.layers.Conv2D(4, 3, activation="relu", name="active")(x)
    x = FusedBatchNormalization(name="after_active")(x)
    x = keras.layers.ReLU()(x)
    x = FusedBatchNormalization(name="after_relu")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = FusedBatchNormalization(name="merged")(x)
    network = _with_statistics(keras.Model(inputs, x))
    folded = fold_batch_normalization(network)
    assert _normalizations(folded) == ["after_twice", "after_active", "after_relu"]
    values = np.random.default_rng(2).standard_normal((3, 8, 8, 3)).astype(np.float32)
    expected = network(values, training=False).numpy()
    np.testing.assert_allclose(folded(values).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_half_precision_is_kept_and_close() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = _with_statistics(built("resnet18_cifar", 16, width=8))
        folded = fold_batch_normalization(network)
    finally:
        keras.config.set_dtype_policy(before)
    assert folded.get_layer("stem_conv").compute_dtype == "bfloat16"
    images = _images(16)
    expected = network(images, training=False).numpy()
    received = folded(images).numpy()
    cosine = (expected * received).sum(1) / np.linalg.norm(expected, axis=1)
    assert (cosine / np.linalg.norm(received, axis=1)).min() > 0.999

"""Residual encoders: the paper's parameter counts and map sizes, padding, initialisation."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones.normalization import FusedBatchNormalization
from tests.backbones.built import built


def _trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _map_sides(model: keras.Model) -> list[int]:
    """Distinct map sides behind the convolutions, in order."""
    sides = [
        layer.output.shape[1] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    return sorted(set(sides), reverse=True)


def test_resnet18_has_the_parameters_of_the_paper() -> None:
    model = built("resnet18_cifar", 32)
    assert _trainable(model) == 11_168_832
    assert model.output_shape == (None, 512)
    # 20 normalisations of twice the channels: the moving statistics come on top.
    assert model.count_params() - _trainable(model) == 2 * 4_800


@pytest.mark.parametrize(
    ("side", "maps"),
    [
        (32, [32, 16, 8, 4]),
        (33, [33, 17, 9, 5]),
        (96, [96, 48, 24, 12]),
        (1, [1]),
        (7, [7, 4, 2, 1]),
    ],
)
def test_resnet18_maps(side: int, maps: list[int]) -> None:
    model = built("resnet18_cifar", side, width=2)
    assert _map_sides(model) == maps
    assert model.get_layer("feature_map").output.shape == (None, maps[-1], maps[-1], 16)


def test_small_resnet_maps_and_parameters() -> None:
    model = built("small_resnet", 16, width=8)
    assert _map_sides(model) == [16, 8, 4]
    assert model.get_layer("feature_map").output.shape == (None, 4, 4, 32)
    assert model.output_shape == (None, 32)
    convolutions = 9 * (3 * 8 + 2 * 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32) + 8 * 16 + 16 * 32
    normalisations = 2 * (8 + 2 * 8 + 3 * 16 + 3 * 32)
    assert _trainable(model) == convolutions + normalisations


def test_features_are_the_mean_of_the_non_negative_map() -> None:
    model = built("small_resnet", 12, width=4)
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    both = keras.Model(model.input, [model.get_layer("feature_map").output, model.output])
    feature_map, features = both(images)
    assert float(tf.reduce_min(feature_map)) >= 0.0
    np.testing.assert_allclose(features, tf.reduce_mean(feature_map, axis=(1, 2)), rtol=1e-5)


def test_strided_convolutions_pad_both_sides() -> None:
    """A corner pixel meets the middle of the kernel (PyTorch), not its corner (Keras "same")."""
    model = built("small_resnet", 8, width=2)
    names = ("stage2_block1_1_conv_padding", "stage2_block1_1_conv")
    padding, convolution = (model.get_layer(name) for name in names)
    corner = np.zeros((1, 8, 8, 2), np.float32)
    corner[0, 0, 0] = 1.0
    outputs = convolution(padding(corner))
    middle = convolution.kernel.numpy()[1, 1].sum(axis=0)
    np.testing.assert_allclose(outputs[0, 0, 0], middle, rtol=1e-6)


def test_initialisation_is_kaiming_fan_out_and_seeded() -> None:
    model, again = built("small_resnet", 8, width=32), built("small_resnet", 8, width=32)
    other = built("small_resnet", 8, width=32, seed=1)
    kernel = model.get_layer("stage3_block1_2_conv").kernel.numpy()
    np.testing.assert_allclose(kernel.std(), np.sqrt(2.0 / (9 * 128)), rtol=0.02)
    np.testing.assert_array_equal(kernel, again.get_layer("stage3_block1_2_conv").kernel)
    assert np.abs(kernel - other.get_layer("stage3_block1_2_conv").kernel.numpy()).max() > 0.01
    first, second = (model.get_layer(f"stage1_block1_{i}_conv").kernel.numpy() for i in (1, 2))
    assert np.abs(first - second).max() > 0.01


def test_no_layer_is_without_the_requested_groups() -> None:
    model = built("resnet18_cifar", 8, width=2, bn_groups=2)
    norms = [layer for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
    assert len(norms) == 20
    assert {layer.groups for layer in norms} == {2}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("bn_groups", [1, 2])
def test_trains_and_saves_in_both_precisions(dtype: str, bn_groups: int, tmp_path: Path) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = built("small_resnet", 8, width=4, bn_groups=bn_groups)
    finally:
        keras.config.set_dtype_policy(policy)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    with tf.GradientTape() as tape:
        features = model(images, training=True)
    gradients = tape.gradient(features, model.trainable_variables)
    assert features.dtype == tf.float32
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_cluster_resnet_starts_uniform_and_the_stl_network_kaiming_normal() -> None:
    name = "stage2_block1_2_conv"
    uniform = built("cluster_resnet34", 8, width=16).get_layer(name).kernel.numpy()
    bound = 1.0 / np.sqrt(9 * 32)
    assert 0.999 * bound < np.abs(uniform).max() <= bound
    np.testing.assert_allclose(uniform.std(), bound / np.sqrt(3.0), rtol=0.03)
    normal = built("resnet18_stl", 8, width=16).get_layer(name).kernel.numpy()
    np.testing.assert_allclose(normal.std(), np.sqrt(2.0 / (9 * 32)), rtol=0.03)
    assert np.abs(normal).max() > 3.0 * normal.std()


def test_pooling_sees_the_corner_alone() -> None:
    """Windows of side 2 begin one pixel outside: the corner pixel has one for itself."""
    model = built("resnet18_stl", 6, width=1)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, (1, 6, 6, 1)).astype(np.float32)
    pooled = model.get_layer("stem_pool")(model.get_layer("stem_pool_padding")(x))
    assert pooled.shape == (1, 4, 4, 1)
    assert pooled[0, 0, 0, 0] == x[0, 0, 0, 0]
    assert pooled[0, 3, 3, 0] == x[0, 5, 5, 0]
    assert pooled[0, 1, 1, 0] == x[0, 1:3, 1:3, 0].max()

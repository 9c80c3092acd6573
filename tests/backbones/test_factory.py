"""Encoders by name: each network's published figures, and what all of them have in common."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones.factory import BACKBONES, build_backbone, has_first_group
from spice_keras.backbones.normalization import FusedBatchNormalization
from spice_keras.config.schema import OWN_BACKBONES, WIDE_BACKBONES
from tests.reference.networks import residual_features, wide_features

every_network = pytest.mark.parametrize("name", sorted(BACKBONES))

_NETWORK_OF_EACH_FAMILY = (
    ("resnet18_cifar", partial(residual_features, repeats=(2, 2, 2, 2), stem_stride=1, pool=0)),
    ("resnet18_stl", partial(residual_features, repeats=(2, 2, 2, 2), stem_stride=1, pool=2)),
    ("cluster_resnet34", partial(residual_features, repeats=(3, 4, 6, 3), stem_stride=1, pool=2)),
    ("resnet34", partial(residual_features, repeats=(3, 4, 6, 3), stem_stride=2, pool=3)),
    ("small_resnet", partial(residual_features, repeats=(1, 1, 1), stem_stride=1, pool=0)),
    ("wrn_28_2", partial(wide_features, num_groups=3, first_stride=1)),
    ("wrn_28_8", partial(wide_features, num_groups=3, first_stride=1)),
    ("wrn_37_2", partial(wide_features, num_groups=4, first_stride=2)),
)


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _images(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def _parameters(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _map_sides(model: keras.Model) -> list[int]:
    """Side of the map of each stage."""
    return [layer.output.shape[1] for layer in model.layers if layer.name.endswith("_block1_add")]


def _multiplications(model: keras.Model) -> int:
    """Multiplications of the convolutions for one image."""
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(
        int(np.prod(layer.kernel.shape)) * layer.output.shape[1] ** 2 for layer in convolutions
    )


@pytest.mark.parametrize(
    ("name", "side", "options", "parameters", "classes", "maps", "giga"),
    [
        ("resnet18_cifar", 32, {}, 11_173_962, 10, [32, 16, 8, 4], 0.555),
        ("resnet18_stl", 96, {}, 11_173_962, 10, [49, 25, 13, 7], 1.46),
        ("cluster_resnet34", 32, {}, 21_282_122, 10, [17, 9, 5, 3], 0.444),
        ("cluster_resnet34", 64, {}, 21_282_122, 10, [33, 17, 9, 5], 1.45),
        ("cluster_resnet34", 96, {}, 21_282_122, 10, [49, 25, 13, 7], 3.04),
        ("cluster_resnet34", 224, {}, 21_282_122, 10, [113, 57, 29, 15], 15.2),
        ("resnet34", 224, {}, 21_292_367, 15, [56, 28, 14, 7], 3.66),
        ("wrn_28_2", 32, {}, 1_467_610, 10, [32, 16, 8], 0.214),
        ("wrn_28_8", 32, {}, 23_359_972, 20, [32, 16, 8], 3.36),
        ("wrn_37_2", 96, {}, 5_929_434, 10, [48, 24, 12, 6], 0.646),
        ("wrn_37_2", 96, {"first_stride": 1}, 5_929_434, 10, [96, 48, 24, 12], 2.57),
        ("wrn_37_2", 64, {"first_stride": 1}, 5_978_264, 200, [64, 32, 16, 8], None),
        ("wrn_37_2", 224, {}, 5_930_719, 15, [112, 56, 28, 14], None),
    ],
)
def test_published_sizes(
    name: str,
    side: int,
    options: dict[str, int],
    parameters: int,
    classes: int,
    maps: list[int],
    giga: float | None,
) -> None:
    """Parameters with a linear classifier, map sides, and 10^9 multiplications to three digits."""
    model = build_backbone(name, image_size=side, **options)
    features = model.output_shape[-1]
    assert _parameters(model) + (features + 1) * classes == parameters
    assert _map_sides(model) == maps
    assert model.get_layer("feature_map").output.shape == (None, maps[-1], maps[-1], features)
    if giga is not None:
        assert float(f"{_multiplications(model) / 1e9:.3g}") == pytest.approx(giga, rel=0.005)


@pytest.mark.parametrize(("name", "twin"), _NETWORK_OF_EACH_FAMILY)
def test_equals_its_slow_twin(name: str, twin: Any) -> None:
    model = build_backbone(name, image_size=13, width=2, seed=4)
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, FusedBatchNormalization):
            gamma, beta, mean, variance, *steps = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0.0, 0.3, beta.shape),
                    rng.normal(0.0, 0.3, mean.shape),
                    rng.uniform(0.5, 1.5, variance.shape),
                    *steps,
                ]
            )
    images = _images(2, 13)
    expected = twin(images, lambda layer_name: model.get_layer(layer_name).get_weights())
    np.testing.assert_allclose(model(images), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_every_network_has_a_twin() -> None:
    assert sorted(name for name, _ in _NETWORK_OF_EACH_FAMILY) == sorted(BACKBONES)


@every_network
def test_one_step_in_half_precision_moves_every_weight(name: str) -> None:
    with _precision("mixed_bfloat16"):
        model = build_backbone(name, image_size=20, width=2, bn_groups=2, seed=3)
    assert model.name == name
    assert model.input.dtype == "uint8"
    assert model.get_layer("feature_map").compute_dtype == "bfloat16"
    before = [variable.numpy() for variable in model.weights]
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        features = model(_images(8, 20), training=True)
        loss = tf.reduce_mean(tf.square(features - 1.0))
    assert features.dtype == tf.float32
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    for variable, old in zip(model.weights, before, strict=True):
        assert np.isfinite(variable.numpy()).all(), variable.path
        assert (variable.numpy() != old).any(), variable.path


@every_network
def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    model = build_backbone(name, image_size=12, width=2, seed=3)
    images = _images(4, 12)
    model(images, training=True)
    model.save_weights(tmp_path / "network.weights.h5")
    other = build_backbone(name, image_size=12, width=2, seed=9)
    assert (other(images).numpy() != model(images).numpy()).any()
    other.load_weights(tmp_path / "network.weights.h5")
    np.testing.assert_array_equal(other(images), model(images))


@every_network
def test_initial_weights_are_the_seeds(name: str) -> None:
    one, same, other = (
        build_backbone(name, image_size=8, width=3, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    kernels = [number for number, weight in enumerate(one) if weight.ndim > 1]
    for number in kernels:
        np.testing.assert_array_equal(one[number], same[number])
        assert (one[number] != other[number]).all()
    drawn = [one[number].ravel()[:3].tobytes() for number in kernels]
    assert len(set(drawn)) == len(kernels)


@every_network
@pytest.mark.parametrize("side", [1, 7])
def test_any_side_down_to_one_pixel(name: str, side: int) -> None:
    features = build_backbone(name, image_size=side, width=2)(_images(1, side))
    assert np.isfinite(features).all()


@every_network
def test_stem_stride_halves_every_map_and_keeps_the_parameters(name: str) -> None:
    plain = build_backbone(name, image_size=64, width=2)
    strided = build_backbone(name, image_size=64, width=2, stem_stride=2)
    assert _parameters(strided) == _parameters(plain)
    pairs = list(zip(_map_sides(plain), _map_sides(strided), strict=True))
    assert all(side in (whole // 2, whole // 2 + 1) for whole, side in pairs)


@every_network
def test_normalisation_moves_as_published_unless_told(name: str) -> None:
    def momenta(**options: Any) -> set[tuple[float, float, bool]]:
        model = build_backbone(name, image_size=8, width=2, **options)
        layers = [layer for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
        return {(layer.momentum, layer.epsilon, layer.warm_up) for layer in layers}

    wide = name in WIDE_BACKBONES
    assert momenta() == {(0.999 if wide else 0.9, 1e-5, wide)}
    assert momenta(bn_momentum=0.97) == {(0.97, 1e-5, wide)}


@every_network
def test_refuses_sizes_below_one(name: str) -> None:
    for size in ("image_size", "width", "stem_stride"):
        with pytest.raises(ValueError, match=f"must each be at least 1.*{size}=0"):
            build_backbone(name, **{"image_size": 8, "width": 2, size: 0})


def test_the_configuration_knows_the_same_names_and_widths() -> None:
    assert sorted(OWN_BACKBONES) == sorted(BACKBONES)
    assert sorted(filter(has_first_group, BACKBONES)) == sorted(WIDE_BACKBONES)
    widths = {
        name: inspect.signature(builder).parameters["width"].default
        for name, builder in BACKBONES.items()
    }
    assert widths.pop("wrn_28_8") == 128
    assert {name for name, width in widths.items() if width == 32} == {
        "small_resnet",
        "wrn_28_2",
        "wrn_37_2",
    }
    assert set(widths.values()) == {32, 64}


def test_names_the_choices_when_it_does_not_know_one() -> None:
    with pytest.raises(ValueError, match=r"resnet18_cifar, resnet18_stl.*name=vgg"):
        build_backbone("vgg", image_size=8, width=2)


def test_a_first_stride_is_a_wide_networks() -> None:
    with pytest.raises(ValueError, match=r"wrn_28_2, wrn_28_8, wrn_37_2; .*name=resnet34"):
        build_backbone("resnet34", image_size=8, width=2, first_stride=2)


def test_builds_a_pretrained_encoder_without_its_weights() -> None:
    model = build_backbone("efficientnet_lite0", image_size=32, width=2, seed=3)
    assert model.name == "efficientnet_lite0"
    assert model.output_shape == (None, 1280)

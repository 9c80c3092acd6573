"""Pretrained encoders: pixels prepared as their weights expect, and advice where they are absent.

Nothing here touches the network: weights are drawn, downloads fail or are stood in for.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones import pretrained
from spice_keras.backbones.pretrained import (
    ApplicationPreprocessing,
    TokenPooling,
    application_names,
    backbone_architecture,
    pretrained_backbone,
)
from spice_keras.errors import UserError
from tests.backbones.hub_presets import NETWORKS, drawn_backbone

_FAMILIES = sorted(
    name
    for name in dir(keras.applications)
    if hasattr(getattr(keras.applications, name), "preprocess_input") and name != "imagenet_utils"
)
_MODES = {
    "caffe": {"resnet", "resnet50", "vgg16", "vgg19"},
    "torch": {"densenet"},
    "none": {"convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"},
}


def _images(side: int, number: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def _prepared(family: str, images: np.ndarray) -> np.ndarray:
    """What the family's documentation says of its pixels, written out."""
    x = images.astype(np.float64)
    if family in _MODES["caffe"]:
        return x[..., ::-1] - [103.939, 116.779, 123.68]
    if family in _MODES["torch"]:
        return (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return x if family in _MODES["none"] else x / 127.5 - 1


@pytest.fixture
def bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("family", _FAMILIES)
def test_preprocessing_of_each_family(family: str) -> None:
    images = _images(4)
    layer = ApplicationPreprocessing.from_config(ApplicationPreprocessing(family).get_config())
    own = getattr(keras.applications, family).preprocess_input(images.astype(np.float32))
    np.testing.assert_allclose(layer(images), own, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(layer(images), _prepared(family, images), rtol=1e-5, atol=1e-4)


def test_preprocessing_of_no_family() -> None:
    with pytest.raises(ValueError, match="Received: family='alexnet'"):
        ApplicationPreprocessing("alexnet")


def test_every_application_has_a_preprocessing() -> None:
    families = {
        getattr(keras.applications, name).__module__.rpartition(".")[2]
        for name in application_names()
    }
    assert families <= set(_FAMILIES)
    assert {"ResNet50", "MobileNetV2", "ConvNeXtTiny"} <= set(application_names())


def test_an_application_is_keras_own_on_prepared_pixels() -> None:
    model = backbone_architecture("keras:MobileNetV2", image_size=32)
    assert model.input.dtype == "uint8"
    assert model.get_layer("feature_map").output.shape == (None, 1, 1, 1280)
    own = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    own.set_weights(model.get_weights())
    images = _images(32)
    expected = own(_prepared("mobilenet_v2", images).astype(np.float32), training=False)
    np.testing.assert_allclose(model(images, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("bfloat16")
def test_an_application_in_bfloat16_and_from_a_file(tmp_path: Path) -> None:
    model = backbone_architecture("keras:MobileNet", image_size=32)
    assert model.get_layer("feature_map").compute_dtype == "bfloat16"
    features = model(_images(32), training=False)
    assert features.dtype == tf.float32
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(_images(32), training=False), features)


def _replace(
    monkeypatch: pytest.MonkeyPatch, build: Callable[..., object], name: str = "MobileNet"
) -> None:
    """Puts a function in the place of a builder of keras.applications."""
    build.__module__ = "keras.src.applications.mobilenet"
    monkeypatch.setattr(keras.applications, name, build)


def test_the_published_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def build(input_tensor: keras.KerasTensor, **options: Any) -> object:
        asked.append((options["weights"], socket.getdefaulttimeout()))
        return SimpleNamespace(output=keras.layers.Conv2D(4, 3)(input_tensor))

    _replace(monkeypatch, build)
    before = socket.getdefaulttimeout()
    assert pretrained_backbone("keras:MobileNet", image_size=8).output_shape == (None, 4)
    backbone_architecture("keras:MobileNet", image_size=8)
    assert asked == [("imagenet", 10.0), (None, 10.0)]
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    "error",
    [
        # Keras's own words (keras.utils.get_file).
        Exception("URL fetch failure on https://host/dir/net_no_top.h5: None -- [Errno -2] Name"),
        TimeoutError("timed out"),
    ],
)
def test_a_failed_download(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def build(**options: Any) -> keras.Model:
        raise error

    _replace(monkeypatch, build)
    monkeypatch.setenv("KERAS_HOME", "/kept/keras")
    with pytest.raises(UserError) as raised:
        pretrained_backbone("keras:MobileNet", image_size=8)
    message = str(raised.value)
    assert "/kept/keras/models" in message
    assert "use efficientnet_lite0, whose weights come with spice-keras" in message
    assert ("net_no_top.h5 into" in message) == ("URL" in str(error))


def test_a_size_below_what_the_network_needs() -> None:
    with pytest.raises(UserError, match=r"keras:InceptionV3 .* 32 pixels: .*75x75"):
        backbone_architecture("keras:InceptionV3", image_size=32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", r"choose one of efficientnet_lite0, .*, keras:NAME .*, hub:PRESET"),
        ("keras:resnet50", "Did you mean ResNet50"),
        ("keras:preprocess_input", "has no model"),
        ("keras:", "has no model"),
    ],
)
@pytest.mark.parametrize("build", [pretrained_backbone, backbone_architecture])
def test_unknown_names(build: Callable[..., keras.Model], name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, image_size=32)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1"])
def test_lite_asks_for_its_weights_and_the_architecture_does_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[tuple[keras.Model, str]] = []
    monkeypatch.setattr(pretrained, "load_lite_weights", lambda *what: filled.append(what))
    model = pretrained_backbone(name, image_size=8)
    assert filled == [(model, name)]
    again = backbone_architecture(name, image_size=8)
    assert filled == [(model, name)]
    assert [one.shape for one in again.weights] == [one.shape for one in model.weights]


@pytest.mark.parametrize(("tokens", "expected"), [(4, 1.5), (1, 0.0), (5, 0.0), (10, 0.0)])
def test_token_pooling(tokens: int, expected: float) -> None:
    """A grid is averaged; what is no grid has a class token in front."""
    values = np.arange(tokens, dtype=np.float32)[None, :, None] * np.ones((2, 1, 3), np.float32)
    np.testing.assert_array_equal(TokenPooling()(values), np.full((2, 3), expected))


def _hub(
    monkeypatch: pytest.MonkeyPatch, backbone: object, scale: object, offset: object
) -> list[dict[str, Any]]:
    """A stand-in for keras_hub that knows one preset; returns what was asked of it."""
    asked = []

    def from_preset(preset: str, **options: Any) -> object:
        asked.append({"preset": preset, **options})
        return backbone

    hub = ModuleType("keras_hub")
    hub.models = SimpleNamespace(Backbone=SimpleNamespace(from_preset=from_preset))  # type: ignore[attr-defined]
    converter = SimpleNamespace(scale=scale, offset=offset)
    hub.layers = SimpleNamespace(  # type: ignore[attr-defined]
        ImageConverter=SimpleNamespace(from_preset=lambda preset: converter)
    )
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    return asked


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (None, None, [0.0, 51.0, 255.0]),
        (1 / 255, None, [0.0, 0.2, 1.0]),
        ([0.1, 0.2, 0.3], [-1.0, 0.0, 2.0], [-1.0, 10.2, 78.5]),
    ],
)
def test_hub_pixels(
    monkeypatch: pytest.MonkeyPatch, scale: object, offset: object, expected: list[float]
) -> None:
    inputs = keras.Input((None, None, 3))
    same = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    asked = _hub(monkeypatch, same, scale, offset)
    model = pretrained_backbone("hub:some/net-2", image_size=4)
    images = np.broadcast_to(np.array([0, 51, 255], np.uint8), (1, 4, 4, 3))
    np.testing.assert_allclose(model(images)[0], expected, rtol=1e-5, atol=1e-6)
    assert model.name == "net_2"
    backbone_architecture("hub:some/net-2", image_size=4)
    assert asked == [
        {"preset": "some/net-2", "load_weights": loaded, "dtype": "float32"}
        for loaded in (True, False)
    ]


def test_hub_networks_of_a_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = keras.Input((6, 6, 3), name="pixels")
    outputs = keras.layers.Reshape((36, 3))(inputs)
    _hub(monkeypatch, keras.Model({"pixels": inputs}, outputs), None, None)
    model = pretrained_backbone("hub:vit", image_size=4)
    assert model.input_shape == (None, 4, 4, 3)
    assert model.get_layer("feature_map").output.shape == (None, 36, 3)
    np.testing.assert_allclose(model(np.full((1, 4, 4, 3), 9, np.uint8)), [[9.0] * 3], rtol=1e-5)


def test_hub_networks_of_images_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = keras.Input((8, 8, 3))
    vision = keras.Model(inputs, keras.layers.Flatten()(inputs))
    clip = SimpleNamespace(
        vision_encoder=vision, get_vision_embeddings=lambda x: keras.layers.Dense(5)(vision(x))
    )
    _hub(monkeypatch, clip, None, None)
    assert pretrained_backbone("hub:clip", image_size=8).output_shape == (None, 5)


def test_hub_networks_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = keras.Input((7,))
    _hub(monkeypatch, keras.Model(tokens, tokens), None, None)
    with pytest.raises(UserError, match="'bert' does not take images"):
        pretrained_backbone("hub:bert", image_size=8)


def test_hub_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"pip install 'spice-keras\[hub\]'"):
        pretrained_backbone("hub:vit", image_size=8)


def test_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(monkeypatch, None, None, None)

    def fail(preset: str) -> object:
        raise ConnectionError("Name or service not known")

    sys.modules["keras_hub"].layers.ImageConverter.from_preset = fail
    with pytest.raises(UserError, match=r"'vit' \(Name or service.*come with spice-keras"):
        pretrained_backbone("hub:vit", image_size=8)


@pytest.mark.parametrize("kind", NETWORKS)
def test_presets_of_the_real_keras_hub(tmp_path: Path, kind: str) -> None:
    """Presets drawn and written by KerasHub itself, read back as backbones."""
    backbone, converter, side = drawn_backbone(kind)
    backbone.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    model = pretrained_backbone(f"hub:{tmp_path}", image_size=side)
    pixels = converter(_images(side).astype(np.float32))
    outputs = np.array(backbone({"images": pixels} if kind == "DINOV2" else pixels))
    expected = outputs.mean(axis=(1, 2)) if kind == "ResNet" else outputs[:, 0]
    np.testing.assert_allclose(model(_images(side), training=False), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(_images(side), training=False), expected, atol=1e-5)

"""Pretrained encoders by name: uint8 images in, pooled features out, weights included."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.backbones.blocks import FEATURE_MAP
from spice_keras.backbones.efficientnet_lite import efficientnet_lite, load_lite_weights
from spice_keras.backbones.normalization import PixelNormalization
from spice_keras.errors import UserError
from spice_keras.options import (
    BACKBONES,
    HUB_PREFIX,
    KERAS_PREFIX,
    LITE0,
    PRETRAINED_FORMS,
    LiteSpec,
)

# An unreachable host must not hold up a run for the system's two minutes.
_CONNECTION_SECONDS = 10.0
# What tells whether a classifier reads the pooled features: a drawn image of this side, and by how
# much features may differ that were pooled in half precision.
_PROBE_SIDE, _SAME = 64, 0.02


def pretrained_backbone(name: str, *, image_size: int) -> keras.Model:
    """Encoder with its published weights, built under the current Keras dtype policy.

    ImageNet weights were trained with labels, so clusters found with them are not label-free.

    Args:
        name: "efficientnet_lite0", whose weights come with spice-keras, or a larger one of its
            family, "efficientnet_lite1" or "efficientnet_lite2", whose weights are an extra;
            "keras:NAME", a model of `keras.applications` such as "keras:ResNet50"; or
            "hub:PRESET", a KerasHub preset of an image backbone, a handle "hf://..." or a folder.
        image_size: Side of the square images, in pixels.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]``. The pixels are prepared
        inside it as the weights expect; its layer ``feature_map`` is the last map or token
        sequence before pooling.

    Raises:
        UserError: If the name is unknown, the size unsuitable, a package missing, or the weights
            can neither be found nor downloaded.
    """
    if isinstance(BACKBONES.get(name), LiteSpec):
        network = efficientnet_lite(name, image_size)
        load_lite_weights(network, name)
        return network
    return _build(name, image_size, with_weights=True)


def backbone_architecture(name: str, *, image_size: int) -> keras.Model:
    """The network of `pretrained_backbone` with drawn weights, for a run that loads its own.

    Nothing is downloaded, except the description of a "hub:" preset when it is first used.

    Args:
        name: As in `pretrained_backbone`.
        image_size: Side of the square images, in pixels.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]``.

    Raises:
        UserError: If the name is unknown, the size unsuitable or a package missing.
    """
    if isinstance(BACKBONES.get(name), LiteSpec):
        return efficientnet_lite(name, image_size)
    return _build(name, image_size, with_weights=False)


def _build(name: str, image_size: int, *, with_weights: bool) -> keras.Model:
    if name.startswith(KERAS_PREFIX):
        return _application(name.removeprefix(KERAS_PREFIX), image_size, with_weights)
    if name.startswith(HUB_PREFIX):
        return _hub_backbone(name.removeprefix(HUB_PREFIX), image_size, with_weights)
    raise UserError(f"Unknown pretrained backbone {name!r}; choose one of {PRETRAINED_FORMS}.")


def _image_input(image_size: int) -> keras.KerasTensor:
    if image_size < 1:
        raise ValueError(f"`image_size` must be at least 1. Received: image_size={image_size}")
    return keras.Input((image_size, image_size, 3), dtype="uint8", name="image")


def _pooled(feature_map: keras.KerasTensor) -> keras.KerasTensor:
    """One feature vector per image, from a map, from tokens, or from a vector."""
    x = keras.layers.Activation("linear", name=FEATURE_MAP)(feature_map)
    # Pooled in float32: a sum over the map is where half precision would lose most.
    if len(x.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)
    if len(x.shape) == 3:
        return TokenPooling(dtype="float32", name="features")(x)
    return keras.layers.Activation("linear", dtype="float32", name="features")(x)


@keras.saving.register_keras_serializable(package="spice_keras")
class TokenPooling(keras.layers.Layer):
    """The class token of a vision transformer, or the mean of its patches if it has none.

    Patches form a square grid; any other number means a class token in front.
    """

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Maps ``[B, T, D]`` to ``[B, D]``."""
        side = round(tokens.shape[1] ** 0.5)
        return tf.reduce_mean(tokens, axis=1) if side**2 == tokens.shape[1] else tokens[:, 0]


@keras.saving.register_keras_serializable(package="spice_keras")
class ApplicationPreprocessing(keras.layers.Layer):
    """The ``preprocess_input`` of a family of ``keras.applications``, as a layer on uint8 pixels.

    Args:
        family: Name of the family's module, such as "resnet" or "mobilenet_v2".
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If there is no such family.
    """

    def __init__(self, family: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not hasattr(getattr(keras.applications, family, None), "preprocess_input"):
            raise ValueError(
                "`family` must name a module of keras.applications with a `preprocess_input`. "
                f"Received: family={family!r}"
            )
        self.family = family

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Maps uint8 ``[B, H, W, 3]`` in 0..255 to the compute dtype."""
        preprocess = getattr(keras.applications, self.family).preprocess_input
        pixels = preprocess(tf.cast(images, tf.float32), data_format="channels_last")
        return tf.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"family": self.family}


def application_names() -> list[str]:
    """The models of the installed `keras.applications`, by name."""
    return [name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)]


def published_classifier(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the classifier that an encoder of another library was published with.

    Args:
        name: "keras:NAME" or "hub:PRESET".

    Returns:
        Its kernel, float32 ``[D, C]``, for the pooled features that `pretrained_backbone` gives,
        and its bias ``[C]``.

    Raises:
        UserError: If the name is unknown, the weights can neither be found nor downloaded, or
            there is no classifier that reads the pooled features alone.
    """
    prefix, _, own = name.partition(":")
    read = _application_classifier if f"{prefix}:" == KERAS_PREFIX else _hub_classifier
    found = read(own)
    if found is None:
        raise UserError(
            f"{name} has no classifier of one layer on the pooled features, so it gives no words. "
            f"Use keras:ResNet50 or {LITE0}, or give vectors in an .npz file."
        )
    weights = [np.asarray(weight, np.float32) for weight in found.get_weights()]
    return weights[0], weights[1] if found.use_bias else np.zeros(found.units, np.float32)


def _application_classifier(model_name: str) -> keras.layers.Dense | None:
    builder = _application_builder(model_name)
    with _application_errors(model_name, None):
        network = builder(include_top=True, weights="imagenet", classifier_activation=None)
    classifier = network.layers[-1]
    # Dropout does nothing when a trained network is used.
    below = network.layers[-2]
    while isinstance(below, keras.layers.Dropout):
        below = below.input._keras_history.operation
    pooled = isinstance(below, keras.layers.GlobalAveragePooling2D)
    return classifier if pooled and isinstance(classifier, keras.layers.Dense) else None


def _hub_classifier(preset: str) -> keras.layers.Dense | None:
    hub = _keras_hub()
    try:
        with _short_connections():
            task = hub.models.ImageClassifier.from_preset(preset)
    except Exception as error:
        # Whatever Kaggle's or Hugging Face's client raises; or the preset is a network alone.
        raise UserError(
            f"The KerasHub preset {preset!r} brings no classifier whose rows could be words. Give "
            "nouns if it has a text encoder, or vectors in an .npz file, or use "
            f"{LITE0}. KerasHub says: {error}"
        ) from error
    classifier = task.output_dense
    encoder = task.backbone
    _, height, width, channels = encoder.inputs[0].shape
    side = (height or _PROBE_SIDE, width or _PROBE_SIDE)
    image = np.random.default_rng(0).normal(size=(1, *side, channels)).astype(np.float32)
    read = keras.Model(task.inputs, classifier.input)([image], training=False)
    ours = keras.Model(encoder.inputs, _pooled(encoder.output))([image], training=False)
    same = read.shape == ours.shape and np.allclose(read, ours, rtol=_SAME, atol=_SAME)
    return classifier if same else None


def _application_builder(model_name: str) -> Any:
    names = application_names()
    if model_name not in names:
        close = difflib.get_close_matches(model_name, names, cutoff=0.4) or names
        raise UserError(
            f"keras.applications has no model {model_name!r}. Did you mean {', '.join(close)}?"
        )
    return getattr(keras.applications, model_name)


def _application(model_name: str, image_size: int, with_weights: bool) -> keras.Model:
    builder = _application_builder(model_name)
    family = builder.__module__.rpartition(".")[2]
    inputs = _image_input(image_size)
    pixels = ApplicationPreprocessing(family, name="pixel_normalization")(inputs)
    with _application_errors(model_name, image_size):
        network = builder(
            include_top=False,
            weights="imagenet" if with_weights else None,
            input_tensor=pixels,
            input_shape=(image_size, image_size, 3),
        )
    return keras.Model(inputs, _pooled(network.output), name=model_name.lower())


@contextlib.contextmanager
def _application_errors(model_name: str, image_size: int | None) -> Iterator[None]:
    """Turns what Keras raises for a size too small or a failed download into advice."""
    try:
        with _short_connections(), warnings.catch_warnings():
            # MobileNet warns that its weights were trained at 224 pixels; every family's were.
            warnings.simplefilter("ignore", UserWarning)
            yield
    except ValueError as error:
        images = "" if image_size is None else f" for images of {image_size} pixels"
        raise UserError(f"keras:{model_name} cannot be built{images}: {error}") from error
    except Exception as error:
        # Keras raises a plain Exception when a download fails.
        url = re.search(r"https?://\S+?(?=: |\s|$)", str(error))
        file = f"the file {url.group().rsplit('/', 1)[1]}" if url else "its file of weights"
        home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
        raise UserError(
            f"The weights of keras:{model_name} are not on this machine and cannot be downloaded "
            f"({error}). Run once with a connection, or copy {file} into {home}; without a "
            f"network use {LITE0}, whose weights come with spice-keras."
        ) from error


@contextlib.contextmanager
def _short_connections() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECTION_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _hub_backbone(preset: str, image_size: int, with_weights: bool) -> keras.Model:
    hub = _keras_hub()
    inputs = _image_input(image_size)
    policy = keras.config.dtype_policy().name
    with _hub_errors(preset), _short_connections():
        backbone = hub.models.Backbone.from_preset(preset, load_weights=with_weights, dtype=policy)
        converter = hub.layers.ImageConverter.from_preset(preset)
    # CLIP and its kin are two networks, of images and of texts.
    encoder = getattr(backbone, "vision_encoder", backbone)
    if len(encoder.inputs) != 1 or len(encoder.inputs[0].shape) != 4:
        raise UserError(f"The KerasHub preset {preset!r} does not take images; choose another.")
    x = _converted(converter, inputs)
    height, width = _trained_size(encoder)
    if height and (height, width) != (image_size, image_size):
        x = keras.layers.Resizing(height, width, name="resizing")(x)
    if hasattr(backbone, "get_vision_embeddings"):
        features = backbone.get_vision_embeddings(x)
    else:
        features = encoder({encoder.inputs[0].name: x} if isinstance(encoder.input, dict) else x)
    name = re.sub(r"\W+", "_", preset.rstrip("/").rpartition("/")[2])
    return keras.Model(inputs, _pooled(features), name=name)


def _keras_hub() -> ModuleType:
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise UserError(
            "Backbones of KerasHub need the package keras-hub: "
            f"run `pip install 'spice-keras[hub]'` ({error})."
        ) from error


@contextlib.contextmanager
def _hub_errors(preset: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # KerasHub passes on whatever Kaggle's or Hugging Face's client raises.
        raise UserError(
            f"KerasHub cannot load the image preset {preset!r} ({error}). Check its name, and run "
            "once with a connection, or give the folder of a downloaded preset as hub:FOLDER; "
            f"without a network use {LITE0}, whose weights come with spice-keras."
        ) from error


def _converted(converter: Any, images: keras.KerasTensor) -> keras.KerasTensor:
    """The preset's pixel scaling ``x * scale + offset``, as a pixel normalisation."""
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3)
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    std = 1.0 / (255.0 * scale)
    return PixelNormalization(
        [float(mean) for mean in -offset * std], std.tolist(), name="pixel_normalization"
    )(images)


def _trained_size(encoder: Any) -> tuple[int | None, int | None]:
    """Height and width a network insists on; None if it takes any."""
    _, height, width, _ = encoder.inputs[0].shape
    return height, width

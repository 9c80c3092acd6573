"""The clusterer in layers and operations that Keras itself has, so that anyone can load it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from spice_keras.algorithm.feature_space import SHORTEST
from spice_keras.backbones.convolution import Conv2D
from spice_keras.backbones.folding import PassThrough
from spice_keras.backbones.normalization import FusedBatchNormalization, PixelNormalization
from spice_keras.backbones.pretrained import ApplicationPreprocessing, TokenPooling
from spice_keras.heads.classifier import FeatureScale
from spice_keras.models.clusterer import ClusterAssignment

ops = keras.ops
_SMALLEST = 1e-12


def plain_clusterer(clusterer: keras.Model, *, unsure_below: float) -> keras.Model:
    """Rebuild a clusterer without the layers of this package; the weights are shared.

    Args:
        clusterer: uint8 ``[B, S, S, 3]`` or float32 ``[B, D]`` to the dictionary of
            ``ClusterAssignment``, in float32.
        unsure_below: Items with a confidence below this are told as unsure.

    Returns:
        A functional model whose input is called ``pixels`` or ``embeddings``, with the same
        dictionary and ``second_choice`` int32 ``[B]``, ``second_probability`` float32 ``[B]`` and
        ``unsure`` bool ``[B]``. Layers of other packages stay: see `foreign_packages`.
    """
    of_images = len(clusterer.input_shape) == 4
    inputs = keras.Input(
        clusterer.input_shape[1:],
        dtype="uint8" if of_images else "float32",
        name="pixels" if of_images else "embeddings",
    )

    def called(layer: keras.layers.Layer, *given: Any, **options: Any) -> Any:
        if isinstance(layer, keras.Model) and _is_own_chain(layer):
            return functools.reduce(lambda x, inner: called(inner, x), layer.layers[1:], given[0])
        if isinstance(layer, ClusterAssignment):
            return _assignment(*given)
        if type(layer) in _PLAIN:
            return _PLAIN[type(layer)](layer, *given)
        return layer(*given, **options)

    replay = keras.models.clone_model(
        clusterer, input_tensors=inputs, clone_function=lambda layer: layer, call_function=called
    )
    outputs = dict(replay.output)
    values, clusters = ops.top_k(outputs["probabilities"], 2)
    outputs["second_choice"] = clusters[:, 1]
    outputs["second_probability"] = values[:, 1]
    outputs["unsure"] = ops.less(outputs["confidence"], unsure_below)
    return keras.Model(replay.inputs, outputs, name="clusterer")


def foreign_packages(model: keras.Model) -> set[str]:
    """Name the packages beside Keras that a process needs to load a model.

    Args:
        model: A functional model.

    Returns:
        Names such as "keras_hub".
    """
    roots = {type(layer).__module__.partition(".")[0] for layer in model._flatten_layers()}
    return roots - {"keras"}


def _is_own_chain(model: keras.Model) -> bool:
    """Whether a model inside the model is a head of this package: one layer after the other."""
    return any(type(layer) in _PLAIN for layer in model.layers) and len(model.inputs) == 1


def _convolution(layer: Conv2D, x: keras.KerasTensor) -> keras.KerasTensor:
    return _with_weights(keras.layers.Conv2D.from_config(layer.get_config()), layer, x)


def _normalization(layer: FusedBatchNormalization, x: keras.KerasTensor) -> keras.KerasTensor:
    plain = keras.layers.BatchNormalization(epsilon=layer.epsilon, name=layer.name)
    return _with_weights(plain, layer, x)


def _with_weights(
    plain: keras.layers.Layer, layer: keras.layers.Layer, x: keras.KerasTensor
) -> keras.KerasTensor:
    y = plain(x)
    plain.set_weights(layer.get_weights())
    plain.trainable = False
    return y


def _pixels(layer: PixelNormalization, x: keras.KerasTensor) -> keras.KerasTensor:
    scale = [1.0 / (255.0 * deviation) for deviation in layer.std]
    offset = [-mean / std for mean, std in zip(layer.mean, layer.std, strict=True)]
    return keras.layers.Rescaling(scale, offset, name=layer.name)(x)


def _application(layer: ApplicationPreprocessing, x: keras.KerasTensor) -> keras.KerasTensor:
    preprocess = getattr(keras.applications, layer.family).preprocess_input
    return preprocess(ops.cast(x, "float32"), data_format="channels_last")


def _tokens(layer: TokenPooling, x: keras.KerasTensor) -> keras.KerasTensor:
    side = round(x.shape[1] ** 0.5)
    return ops.mean(x, axis=1) if side**2 == x.shape[1] else x[:, 0]


def _unit(x: keras.KerasTensor, smallest: float = _SMALLEST) -> keras.KerasTensor:
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, smallest)))


def _feature_scale(layer: FeatureScale, x: keras.KerasTensor) -> keras.KerasTensor:
    space = layer.space
    if space.scale == "none":
        return x
    if space.scale == "root-center":
        x = ops.multiply(ops.sign(x), ops.sqrt(ops.absolute(x)))
    x = _unit(x, 1e-30)
    if space.center is not None:
        x = _unit(ops.subtract(x, np.asarray(space.center, np.float32)), SHORTEST**2)
    return ops.multiply(x, float(x.shape[-1]) ** 0.5)


def _assignment(
    features: keras.KerasTensor, logits: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    probabilities = ops.softmax(logits, axis=-1)
    values, clusters = ops.top_k(probabilities, 1)
    return {
        "cluster": clusters[:, 0],
        "confidence": values[:, 0],
        "probabilities": probabilities,
        "embedding": _unit(features),
    }


_PLAIN: dict[type[keras.layers.Layer], Callable[..., keras.KerasTensor]] = {
    PassThrough: lambda layer, x: x,
    Conv2D: _convolution,
    FusedBatchNormalization: _normalization,
    PixelNormalization: _pixels,
    ApplicationPreprocessing: _application,
    TokenPooling: _tokens,
    FeatureScale: _feature_scale,
}

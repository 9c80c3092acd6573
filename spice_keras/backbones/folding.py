"""Folding: the batch normalisation of a frozen encoder merged into its convolutions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.backbones.convolution import Conv2D
from spice_keras.backbones.normalization import FusedBatchNormalization

_CONVOLUTIONS = (Conv2D, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_NORMALIZATIONS = (FusedBatchNormalization, keras.layers.BatchNormalization)


def fold_batch_normalization(network: keras.Model) -> keras.Model:
    """Merge each batch normalisation of a frozen encoder into the convolution before it.

    In inference batch normalisation is a scale and an offset for each channel, which kernel and
    bias of the convolution can carry. A normalisation that follows anything else, or a convolution
    that something else reads as well, stays as it is.

    Args:
        network: A functional model whose layers are each called once. It is left alone.

    Returns:
        A model with layers of the same names that computes, in inference, the same function up to
        rounding; the network itself if nothing can be merged.
    """
    merged = _merged(network)
    if not merged:
        return network
    convolutions = {convolution.name for convolution in merged.values()}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in merged:
            return PassThrough(name=layer.name, dtype=layer.dtype_policy)
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    folded = keras.models.clone_model(network, clone_function=clone)
    for layer in network.layers:
        if layer.weights and layer.name not in merged and layer.name not in convolutions:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    for name, convolution in merged.items():
        weights = _scaled(convolution, network.get_layer(name))
        folded.get_layer(convolution.name).set_weights(weights)
    folded.trainable = False
    return folded


class PassThrough(keras.layers.Layer):
    """What is left of a merged normalisation; called as one."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Returns its input."""
        return inputs


def _merged(network: keras.Model) -> dict[str, keras.layers.Layer]:
    """The convolution each normalisation that can be merged is merged into."""
    inputs = {
        layer.name: layer.input if isinstance(layer.input, list) else [layer.input]
        for layer in network.layers
    }
    makers = {id(layer.output): layer for layer in network.layers if type(layer) in _CONVOLUTIONS}
    readers = [id(tensor) for tensors in inputs.values() for tensor in tensors]
    readers += [id(tensor) for tensor in network.outputs]
    merged = {}
    for layer in network.layers:
        if type(layer) in _NORMALIZATIONS:
            source = id(inputs[layer.name][0])
            if source in makers and readers.count(source) == 1 and _is_linear(makers[source]):
                merged[layer.name] = makers[source]
    return merged


def _is_linear(convolution: keras.layers.Layer) -> bool:
    linear: bool = convolution.activation is keras.activations.linear
    return linear


def _scaled(convolution: keras.layers.Layer, normalization: keras.layers.Layer) -> list[np.ndarray]:
    """Kernel and bias that do what convolution and normalisation did, worked out in float64."""
    ones = np.ones(normalization.moving_mean.shape)
    gamma = _value(normalization, "gamma", ones)
    beta = _value(normalization, "beta", 0.0 * ones)
    mean = _value(normalization, "moving_mean", ones)
    variance = _value(normalization, "moving_variance", ones)
    scale = gamma / np.sqrt(variance + normalization.epsilon)
    kernel, *bias = (weight.astype(np.float64) for weight in convolution.get_weights())
    offset = beta + ((bias[0] if bias else 0.0) - mean) * scale
    # A depthwise kernel is [height, width, channels, multiplier], its outputs in that order.
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    scaled = kernel * (scale.reshape(kernel.shape[2:]) if depthwise else scale)
    return [scaled.astype(np.float32), offset.astype(np.float32)]


def _value(layer: keras.layers.Layer, name: str, default: np.ndarray) -> np.ndarray:
    variable = getattr(layer, name, None)
    return default if variable is None else np.asarray(variable, np.float64)

"""Heads: the clustering heads of SPICE-Self, the projection of MoCo and their linear layers."""

from __future__ import annotations

import zlib
from typing import Any

import keras


def linear_initializer(fan_in: int, seed: int, name: str) -> keras.initializers.Initializer:
    """PyTorch's initialisation of a linear layer: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Args:
        fan_in: Number of inputs of the layer, >= 1.
        seed: Seed of the model.
        name: Name of the weight; each name draws its own numbers.

    Returns:
        An initializer for the kernel or the bias.
    """
    limit = fan_in**-0.5
    return keras.initializers.RandomUniform(
        -limit, limit, seed=zlib.crc32(f"{seed}/{name}".encode())
    )


def linear(dim_in: int, dim_out: int, *, seed: int = 0, name: str, **kwargs: Any) -> keras.Layer:
    """Linear layer ``dim_in x dim_out`` initialised like PyTorch's.

    Args:
        dim_in: Number of inputs.
        dim_out: Number of outputs.
        seed: Seed of the initial weights.
        name: Name of the layer.
        **kwargs: Passed to ``keras.layers.Dense``.

    Returns:
        The layer, not yet built.
    """
    return keras.layers.Dense(
        dim_out,
        kernel_initializer=linear_initializer(dim_in, seed, f"{name}/kernel"),
        bias_initializer=linear_initializer(dim_in, seed, f"{name}/bias"),
        name=name,
        **kwargs,
    )


def mlp(dim_in: int, hidden: int, dim_out: int, *, seed: int = 0, name: str) -> keras.Model:
    """Two linear layers with a ReLU between them, the second in float32.

    Args:
        dim_in: Width of the features D.
        hidden: Width of the hidden layer.
        dim_out: Width of the output P.
        seed: Seed of the initial weights.
        name: Name of the model.

    Returns:
        A functional model: ``[B, D]`` to float32 ``[B, P]``.
    """
    inputs = keras.Input((dim_in,), name="features")
    x = linear(dim_in, hidden, seed=seed, name="hidden", activation="relu")(inputs)
    outputs = linear(hidden, dim_out, seed=seed, name="output", dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)


def projection_head(dim_in: int, hidden: int, dim_out: int, *, seed: int = 0) -> keras.Model:
    """MoCo v2's projection head, thrown away after pretraining.

    Args:
        dim_in: Width of the encoder's features D.
        hidden: Width of the hidden layer; D in MoCo v2.
        dim_out: Width of the projection; 128 in MoCo v2.
        seed: Seed of the initial weights.

    Returns:
        A functional model: ``[B, D]`` to float32 ``[B, dim_out]``, not yet normalised.

    MoCo v2 (arXiv 2003.04297) Sec. 2.
    """
    return mlp(dim_in, hidden, dim_out, seed=seed, name="projection_head")

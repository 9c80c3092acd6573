"""Wide residual networks, the classifiers of SPICE-Semi: uint8 in, pooled float32 features out."""

from __future__ import annotations

import keras

from spice_keras.backbones.blocks import FEATURE_MAP, Blocks, normalized_pixels, pooled_encoder
from spice_keras.options import BackboneOptions, WideResNetSpec

_SLOPE = 0.1


def _activated(
    x: keras.KerasTensor, blocks: Blocks, name: str, activation: str
) -> keras.KerasTensor:
    """Batch normalisation and leaky ReLU."""
    x = blocks.normalization(x, f"{name}_bn")
    return keras.layers.LeakyReLU(_SLOPE, name=activation)(x)


def _preactivation_block(
    x: keras.KerasTensor, blocks: Blocks, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    """Residual block that normalises first; a projected shortcut begins after the activation."""
    activated = _activated(x, blocks, f"{name}_1", f"{name}_1_relu")
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = blocks.convolution(activated, filters, 1, strides, f"{name}_shortcut_conv")
    y = blocks.convolution(activated, filters, 3, strides, f"{name}_1_conv")
    y = _activated(y, blocks, f"{name}_2", f"{name}_2_relu")
    y = blocks.convolution(y, filters, 3, 1, f"{name}_2_conv")
    return keras.layers.Add(name=f"{name}_add")([y, shortcut])


def wide_network(
    spec: WideResNetSpec, options: BackboneOptions, *, image_size: int, bn_groups: int, seed: int
) -> keras.Model:
    """Build a wide residual network: a 3x3 convolution, then groups of pre-activation blocks.

    Args:
        spec: The published network.
        options: Its name, and where it differs from the published one.
        image_size: Side of the square images, in pixels, >= 1.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]`` pooled features, D being
        the filters of the last group. Its layer ``feature_map`` is the last map after the leaky
        ReLU.

    Raises:
        ValueError: If the image size is below 1.

    Wide residual networks (arXiv 1605.07146).
    """
    width = options.width or spec.width
    blocks = Blocks(
        seed=seed,
        bn_groups=bn_groups,
        bn_momentum=spec.bn_momentum if options.bn_momentum is None else options.bn_momentum,
        bn_warm_up=True,
    )
    images, x = normalized_pixels(image_size, spec.mean, spec.std)
    x = blocks.convolution(x, spec.stem_filters, 3, options.stem_stride, "stem_conv")
    for group, number in enumerate(spec.repeats):
        strides = 2 if group else options.first_stride or spec.first_stride
        for block in range(number):
            x = _preactivation_block(
                x,
                blocks,
                width * 2**group,
                1 if block else strides,
                f"group{group + 1}_block{block + 1}",
            )
    return pooled_encoder(images, _activated(x, blocks, "tail", FEATURE_MAP), options.name)

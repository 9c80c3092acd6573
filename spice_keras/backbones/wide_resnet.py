"""Wide residual networks, the classifiers of SPICE-Semi: uint8 in, pooled float32 features out."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from spice_keras.backbones.blocks import (
    FEATURE_MAP,
    Blocks,
    normalized_pixels,
    pooled_encoder,
    refuse_below_one,
)
from spice_keras.backbones.normalization import IMAGENET_MEAN, IMAGENET_STD

# Filters of the first convolution, whatever the width.
_STEM_FILTERS = 16
_BLOCKS_PER_GROUP = 4
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
    """Residual block that normalises first; a projected shortcut begins behind the activation."""
    activated = _activated(x, blocks, f"{name}_1", f"{name}_1_relu")
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = blocks.convolution(activated, filters, 1, strides, f"{name}_shortcut_conv")
    y = blocks.convolution(activated, filters, 3, strides, f"{name}_1_conv")
    y = _activated(y, blocks, f"{name}_2", f"{name}_2_relu")
    y = blocks.convolution(y, filters, 3, 1, f"{name}_2_conv")
    return keras.layers.Add(name=f"{name}_add")([y, shortcut])


def _wide_network(
    name: str,
    image_size: int,
    width: int,
    num_groups: int,
    strides: tuple[int, int],
    blocks: Blocks,
    mean: Sequence[float],
    std: Sequence[float],
) -> keras.Model:
    """3x3 stem, then groups of four blocks; the strides are the stem's and the first group's."""
    stem_stride, first_stride = strides
    refuse_below_one(
        image_size=image_size, width=width, stem_stride=stem_stride, first_stride=first_stride
    )
    images, x = normalized_pixels(image_size, mean, std)
    x = blocks.convolution(x, _STEM_FILTERS, 3, stem_stride, "stem_conv")
    for group in range(num_groups):
        for block in range(_BLOCKS_PER_GROUP):
            x = _preactivation_block(
                x,
                blocks,
                width * 2**group,
                1 if block else (2 if group else first_stride),
                f"group{group + 1}_block{block + 1}",
            )
    return pooled_encoder(images, _activated(x, blocks, "tail", FEATURE_MAP), name)


def wrn_28_2(
    image_size: int,
    width: int = 32,
    bn_groups: int = 1,
    bn_momentum: float = 0.999,
    stem_stride: int = 1,
    first_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """WRN-28-2, the paper's classifier of CIFAR-10: three groups of four pre-activation blocks.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (32 gives maps of 32, 16
            and 8).
        width: Filters of the first group, doubled at each further one; 32 = 16 * 2 in the paper.
            The first convolution always has 16.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step, reached gradually
            (``FusedBatchNormalization.warm_up``).
        stem_stride: Stride of the first convolution; 2 costs a quarter, for larger images.
        first_stride: Stride of the first group; 2 costs a quarter, but for the first convolution.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, 4 * width]`` pooled features.
        Its layer ``feature_map`` is the last map after the leaky ReLU.

    Raises:
        ValueError: If a size is below 1.

    SPICE (arXiv 2103.09382) Sec. 4; wide residual networks of arXiv 1605.07146.
    """
    blocks = Blocks(seed, bn_groups, bn_momentum, bn_warm_up=True)
    strides = (stem_stride, first_stride)
    return _wide_network("wrn_28_2", image_size, width, 3, strides, blocks, mean, std)


def wrn_28_8(
    image_size: int,
    width: int = 128,
    bn_groups: int = 1,
    bn_momentum: float = 0.999,
    stem_stride: int = 1,
    first_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """WRN-28-8, the paper's classifier of CIFAR-100-20: `wrn_28_2`, four times as wide.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1.
        width: Filters of the first group, doubled at each further one; 128 = 16 * 8 in the paper.
            The first convolution always has 16.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step, reached gradually.
        stem_stride: Stride of the first convolution; 2 costs a quarter, for larger images.
        first_stride: Stride of the first group; 2 costs a quarter, but for the first convolution.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model as of `wrn_28_2`.

    Raises:
        ValueError: If a size is below 1.

    SPICE (arXiv 2103.09382) Sec. 4; wide residual networks of arXiv 1605.07146.
    """
    blocks = Blocks(seed, bn_groups, bn_momentum, bn_warm_up=True)
    strides = (stem_stride, first_stride)
    return _wide_network("wrn_28_8", image_size, width, 3, strides, blocks, mean, std)


def wrn_37_2(
    image_size: int,
    width: int = 32,
    bn_groups: int = 1,
    bn_momentum: float = 0.999,
    stem_stride: int = 1,
    first_stride: int = 2,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """WRN-37-2, the paper's classifier of STL-10 and ImageNet's subsets: a fourth group of blocks.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (96 gives maps of 48, 24,
            12 and 6).
        width: Filters of the first group, doubled at each further one; 32 = 16 * 2 in the paper.
            The first convolution always has 16.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step, reached gradually.
        stem_stride: Stride of the first convolution; 2 costs a quarter, for larger images.
        first_stride: Stride of the first group: 2 in SPICE's released code, 1 in FixMatch, with
            maps of twice the side and about four times the cost.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, 8 * width]`` pooled features.
        Its layer ``feature_map`` is the last map after the leaky ReLU.

    Raises:
        ValueError: If a size is below 1.

    SPICE (arXiv 2103.09382) Sec. 4; FixMatch (arXiv 2001.07685) for STL-10.
    """
    blocks = Blocks(seed, bn_groups, bn_momentum, bn_warm_up=True)
    strides = (stem_stride, first_stride)
    return _wide_network("wrn_37_2", image_size, width, 4, strides, blocks, mean, std)

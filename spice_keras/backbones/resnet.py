"""Residual encoders: uint8 images in, globally pooled float32 features out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras

from spice_keras.backbones.blocks import (
    FEATURE_MAP,
    Blocks,
    normalized_pixels,
    pooled_encoder,
    refuse_below_one,
)
from spice_keras.backbones.normalization import IMAGENET_MEAN, IMAGENET_STD


class Stem(NamedTuple):
    """How a residual network begins.

    Attributes:
        kernel: Side of the first convolution's kernel.
        strides: Its stride.
        pool: Side of the max-pooling window behind it, of stride 2 and padded by 1; 0 for none.
    """

    kernel: int
    strides: int
    pool: int = 0


def residual_network(
    name: str,
    image_size: int,
    width: int,
    repeats: Sequence[int],
    stem: Stem,
    blocks: Blocks,
    mean: Sequence[float],
    std: Sequence[float],
) -> keras.Model:
    """Encoder of a stem and stages of basic blocks, each stage twice as wide and half as large.

    Args:
        name: Name of the model.
        image_size: Side of the square images, in pixels, >= 1.
        width: Filters of the stem and of the first stage.
        repeats: Number of blocks of each stage; the first one keeps the size of the map.
        stem: The beginning.
        blocks: Maker of the layers.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]`` pooled features. Its layer
        ``feature_map`` is the last map after the ReLU.

    Raises:
        ValueError: If a size is below 1.
    """
    refuse_below_one(image_size=image_size, width=width, stem_stride=stem.strides)
    images, x = normalized_pixels(image_size, mean, std)
    x = blocks.normalized(x, width, stem.kernel, stem.strides, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    if stem.pool:
        # Behind a ReLU the zeros of the padding never are the maximum alone: this is exact.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_padding")(x)
        x = keras.layers.MaxPooling2D(stem.pool, strides=2, name="stem_pool")(x)
    for stage, number in enumerate(repeats, start=1):
        for block in range(1, number + 1):
            last = stage == len(repeats) and block == number
            x = blocks.basic_block(
                x,
                width * 2 ** (stage - 1),
                2 if stage > 1 and block == 1 else 1,
                f"stage{stage}_block{block}",
                FEATURE_MAP if last else "",
            )
    return pooled_encoder(images, x, name)


def resnet18_cifar(
    image_size: int,
    width: int = 64,
    bn_groups: int = 1,
    bn_momentum: float = 0.9,
    stem_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """ResNet-18 for small images: a 3x3 stem without pooling and four stages of two blocks.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (32 gives maps of 32, 16, 8
            and 4).
        width: Filters of the first stage, doubled at each further one; 64 in the paper.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step.
        stem_stride: Stride of the first convolution; 2 costs a quarter, for larger images.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, 8 * width]`` pooled features.
        Its layer ``feature_map`` is the last map after the ReLU.

    Raises:
        ValueError: If a size is below 1.

    SPICE (arXiv 2103.09382) Sec. 4; residual blocks of arXiv 1512.03385.
    """
    stem, blocks = Stem(3, stem_stride), Blocks(seed, bn_groups, bn_momentum)
    return residual_network(
        "resnet18_cifar", image_size, width, (2, 2, 2, 2), stem, blocks, mean, std
    )


def small_resnet(
    image_size: int,
    width: int = 32,
    bn_groups: int = 1,
    bn_momentum: float = 0.9,
    stem_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """Small residual network: a 3x3 stem and three basic blocks, for runs on a CPU.

    Args:
        image_size: Side of the square images, in pixels, >= 1.
        width: Filters of the first block, doubled at each further one.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step.
        stem_stride: Stride of the first convolution; 2 costs a quarter, for larger images.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, 4 * width]`` pooled features.
        Its layer ``feature_map`` is the last map after the ReLU.

    Raises:
        ValueError: If a size is below 1.
    """
    stem, blocks = Stem(3, stem_stride), Blocks(seed, bn_groups, bn_momentum)
    return residual_network("small_resnet", image_size, width, (1, 1, 1), stem, blocks, mean, std)


def resnet34(
    image_size: int,
    width: int = 64,
    bn_groups: int = 1,
    bn_momentum: float = 0.9,
    stem_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """ResNet-34 as made for ImageNet: a strided 7x7 stem with pooling, stages of 3, 4, 6, 3 blocks.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (224 gives maps of 56, 28,
            14 and 7).
        width: Filters of the first stage, doubled at each further one; 64 as published.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step.
        stem_stride: Factor on the stride of the first convolution, which is 2; a factor of 2 costs
            a quarter.
        mean: Channel means of the pixels in [0, 1].
        std: Channel standard deviations of the pixels in [0, 1].
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, 8 * width]`` pooled features.
        Its layer ``feature_map`` is the last map after the ReLU.

    Raises:
        ValueError: If a size is below 1.

    ResNet (arXiv 1512.03385) Table 1; SPICE's released code has it for ImageNet-10 and -Dogs.
    """
    stem, blocks = Stem(7, 2 * stem_stride, pool=3), Blocks(seed, bn_groups, bn_momentum)
    return residual_network("resnet34", image_size, width, (3, 4, 6, 3), stem, blocks, mean, std)

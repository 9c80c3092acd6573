"""Residual encoders of deep clustering: a 3x3 stem, then max pooling that keeps the border."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from spice_keras.backbones.blocks import Blocks, torch_uniform
from spice_keras.backbones.normalization import IMAGENET_MEAN, IMAGENET_STD
from spice_keras.backbones.resnet import Stem, residual_network


def cluster_resnet34(
    image_size: int,
    width: int = 64,
    bn_groups: int = 1,
    bn_momentum: float = 0.9,
    stem_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """ResNet-34 of IIC and PICA, the paper's encoder: 3x3 stem, pooling, 3, 4, 6 and 3 blocks.

    Its kernels start uniform, as the released code leaves them.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (96 gives maps of 49, 25,
            13 and 7).
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

    SPICE (arXiv 2103.09382) Sec. 4; IIC (arXiv 1807.06653) and PICA (arXiv 2005.01899) before it.
    """
    stem = Stem(3, stem_stride, pool=2)
    blocks = Blocks(seed, bn_groups, bn_momentum, initialization=torch_uniform)
    return residual_network(
        "cluster_resnet34", image_size, width, (3, 4, 6, 3), stem, blocks, mean, std
    )


def resnet18_stl(
    image_size: int,
    width: int = 64,
    bn_groups: int = 1,
    bn_momentum: float = 0.9,
    stem_stride: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> keras.Model:
    """ResNet-18 for the 96 pixels of STL-10: the stem of ClusterResNet, stages of two blocks.

    Args:
        image_size: Side of the square images, in pixels; any side >= 1 (96 gives maps of 49, 25,
            13 and 7).
        width: Filters of the first stage, doubled at each further one; 64 as released.
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

    SPICE's released code, for STL-10.
    """
    stem, blocks = Stem(3, stem_stride, pool=2), Blocks(seed, bn_groups, bn_momentum)
    return residual_network(
        "resnet18_stl", image_size, width, (2, 2, 2, 2), stem, blocks, mean, std
    )

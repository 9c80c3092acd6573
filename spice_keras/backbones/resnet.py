"""Residual encoders for small images: uint8 in, globally pooled float32 features out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from spice_keras.backbones.normalization import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FusedBatchNormalization,
    PixelNormalization,
)

FEATURE_MAP = "feature_map"


@dataclass(frozen=True)
class _Blocks:
    """What the convolutions of one network have in common: split-BN groups and the seed."""

    bn_groups: int
    seed: int

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Convolution with PyTorch's symmetric padding and Kaiming fan-out initialisation."""
        if kernel > 1 and strides > 1:
            # Keras pads "same" on one side only when the stride is 2.
            x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_padding")(x)
        initializer = keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal", seed=zlib.crc32(f"{self.seed}/{name}".encode())
        )
        return keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="valid" if strides > 1 else "same",
            use_bias=False,
            kernel_initializer=initializer,
            name=name,
        )(x)

    def normalized(
        self, x: keras.KerasTensor, filters: int, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Convolution followed by batch normalisation."""
        x = self.convolution(x, filters, kernel, strides, f"{name}_conv")
        return FusedBatchNormalization(groups=self.bn_groups, name=f"{name}_bn")(x)

    def basic_block(
        self, x: keras.KerasTensor, filters: int, strides: int, name: str, output_name: str = ""
    ) -> keras.KerasTensor:
        """Residual basic block: two 3x3 convolutions and a shortcut, projected where needed."""
        shortcut = x
        if strides != 1 or x.shape[-1] != filters:
            shortcut = self.normalized(x, filters, 1, strides, f"{name}_shortcut")
        y = self.normalized(x, filters, 3, strides, f"{name}_1")
        y = keras.layers.ReLU(name=f"{name}_1_relu")(y)
        y = self.normalized(y, filters, 3, 1, f"{name}_2")
        y = keras.layers.Add(name=f"{name}_add")([y, shortcut])
        return keras.layers.ReLU(name=output_name or f"{name}_relu")(y)


def _residual_network(
    name: str,
    image_size: int,
    stages: Sequence[tuple[int, int, int]],
    blocks: _Blocks,
    mean: Sequence[float],
    std: Sequence[float],
    stem_stride: int,
) -> keras.Model:
    """3x3 stem without pooling, then stages of (number of blocks, filters, first stride)."""
    if min(image_size, stages[0][1], stem_stride) < 1:
        raise ValueError(
            "`image_size`, `width` and `stem_stride` must be at least 1. Received: "
            f"image_size={image_size}, width={stages[0][1]}, stem_stride={stem_stride}"
        )
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = PixelNormalization(mean, std, name="pixel_normalization")(inputs)
    x = blocks.normalized(x, stages[0][1], 3, stem_stride, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, (number, filters, strides) in enumerate(stages, start=1):
        for block in range(1, number + 1):
            last = stage == len(stages) and block == number
            x = blocks.basic_block(
                x,
                filters,
                strides if block == 1 else 1,
                f"stage{stage}_block{block}",
                FEATURE_MAP if last else "",
            )
    # Pooled in float32: averaging is where a half-precision accumulator would lose most.
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)
    return keras.Model(inputs, features, name=name)


def resnet18_cifar(
    image_size: int,
    width: int = 64,
    bn_groups: int = 1,
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
    stages = [(2, width, 1), (2, 2 * width, 2), (2, 4 * width, 2), (2, 8 * width, 2)]
    blocks = _Blocks(bn_groups, seed)
    return _residual_network("resnet18_cifar", image_size, stages, blocks, mean, std, stem_stride)


def small_resnet(
    image_size: int,
    width: int = 32,
    bn_groups: int = 1,
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
    stages = [(1, width, 1), (1, 2 * width, 2), (1, 4 * width, 2)]
    return _residual_network(
        "small_resnet", image_size, stages, _Blocks(bn_groups, seed), mean, std, stem_stride
    )

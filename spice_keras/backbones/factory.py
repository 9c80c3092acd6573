"""Encoders by name, for the stages that build them from a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import keras

from spice_keras.backbones.cluster_resnet import cluster_resnet34, resnet18_stl
from spice_keras.backbones.pretrained import FORMS, backbone_architecture, is_pretrained
from spice_keras.backbones.resnet import resnet18_cifar, resnet34, small_resnet
from spice_keras.backbones.wide_resnet import wrn_28_2, wrn_28_8, wrn_37_2

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "cluster_resnet34": cluster_resnet34,
    "resnet18_cifar": resnet18_cifar,
    "resnet18_stl": resnet18_stl,
    "resnet34": resnet34,
    "small_resnet": small_resnet,
    "wrn_28_2": wrn_28_2,
    "wrn_28_8": wrn_28_8,
    "wrn_37_2": wrn_37_2,
}


def build_backbone(
    name: str,
    *,
    image_size: int,
    width: int | None = None,
    bn_groups: int = 1,
    bn_momentum: float | None = None,
    stem_stride: int = 1,
    first_stride: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Encoder of the given name, built under the current Keras dtype policy.

    A pretrained encoder is built here without its weights, for a run that brings its own;
    `pretrained_backbone` fetches the published ones. Its width and strides are its own: of the
    arguments it takes the image size alone.

    Args:
        name: A key of ``BACKBONES``, or the name of a pretrained encoder.
        image_size: Side of the square images, in pixels.
        width: Filters of the first stage or group; as published where None.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        bn_momentum: Share of the moving statistics kept at each step; as published where None: .999
            in a wide network, .9 in the others.
        stem_stride: Factor on the stride of the first convolution.
        first_stride: Stride of a wide network's first group; as published where None.
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]``.

    Raises:
        ValueError: If the name is unknown, a size is below 1, or the network has no first group.
        UserError: If a pretrained encoder cannot be built.
    """
    if is_pretrained(name):
        return backbone_architecture(name, image_size=image_size)
    if name not in BACKBONES:
        raise ValueError(
            f"Unknown backbone; choose one of {', '.join(sorted(BACKBONES))}, {FORMS}. "
            f"Received: name={name}"
        )
    own = {"width": width, "bn_momentum": bn_momentum, "first_stride": first_stride}
    options = {option: value for option, value in own.items() if value is not None}
    if "first_stride" in options and not has_first_group(name):
        raise ValueError(
            f"`first_stride` is an option of {', '.join(filter(has_first_group, BACKBONES))}; give "
            f"`stem_stride` instead. Received: name={name}, first_stride={first_stride}"
        )
    return BACKBONES[name](
        image_size, bn_groups=bn_groups, stem_stride=stem_stride, seed=seed, **options
    )


def has_first_group(name: str) -> bool:
    """Tell whether a backbone of ``BACKBONES`` has groups of blocks, the first with a stride."""
    return "first_stride" in inspect.signature(BACKBONES[name]).parameters

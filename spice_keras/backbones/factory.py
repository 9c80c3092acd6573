"""Encoders by name: the table of backbones, built, and how to add one to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras

from spice_keras.backbones.pretrained import backbone_architecture
from spice_keras.backbones.resnet import residual_network
from spice_keras.backbones.wide_resnet import wide_network
from spice_keras.errors import UserError
from spice_keras.options import (
    BACKBONES,
    BackboneOptions,
    BackboneSpec,
    BuilderSpec,
    PretrainedSpec,
    ResNetSpec,
    WideResNetSpec,
    backbone_spec,
    missing_feature,
)

_PACKAGE_NAMES = frozenset(BACKBONES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def build_backbone(
    options: BackboneOptions | str,
    *,
    image_size: int,
    bn_groups: int = 1,
    seed: int = 0,
    **changes: Any,
) -> keras.Model:
    """Build an encoder under the current Keras dtype policy.

    A pretrained encoder of another library is built with drawn weights, for a run that loads its
    own; `pretrained_backbone` fetches the published ones. Its width and strides are fixed: of the
    arguments it reads the image size alone.

    Args:
        options: The backbone, and where it differs from the published one; or its name.
        image_size: Side of the square images, in pixels, >= 1.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        seed: Seed of the initial weights.
        **changes: With a name, options that differ from the published ones (``width``,
            ``stem_stride``, ``first_stride``, ``bn_momentum``).

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]`` pooled features. In the
        networks of this package the layer ``feature_map`` is the last map before pooling.

    Raises:
        ValueError: If the name or an option is unknown, the image size is below 1, or the
            backbone does not take sub-batches.
        UserError: If a pretrained encoder cannot be built, or a registered builder returns
            something other than an encoder.

    Example:
        >>> build_backbone("resnet18_cifar", image_size=32).output_shape
        (None, 512)
        >>> build_backbone("wrn_28_2", image_size=32, width=4).output_shape
        (None, 16)
    """
    if isinstance(options, str):
        backbone_spec(options)  # a plainer message than that of the options' validation
        options = BackboneOptions(name=options, **changes)
    elif changes:
        raise ValueError(f"Options go into `options`, or beside a name. Received: {changes}")
    reason = missing_feature(options.name, "bn_groups")
    if bn_groups != 1 and reason is not None:
        raise ValueError(f"{reason}. Received: bn_groups={bn_groups}")
    match options.spec:
        case ResNetSpec() as spec:
            return residual_network(
                spec, options, image_size=image_size, bn_groups=bn_groups, seed=seed
            )
        case WideResNetSpec() as spec:
            return wide_network(
                spec, options, image_size=image_size, bn_groups=bn_groups, seed=seed
            )
        case BuilderSpec() as spec:
            network = spec.builder(options, image_size=image_size, bn_groups=bn_groups, seed=seed)
            return _checked(network, options.name, image_size)
        case PretrainedSpec():
            return backbone_architecture(options.name, image_size=image_size)


def _checked(network: object, name: str, image_size: int) -> keras.Model:
    """Returns what a registered builder made, if a run can use it as its encoder."""
    wanted = (
        f"The builder of the backbone {name} must return a functional keras.Model from uint8 "
        f"[B, {image_size}, {image_size}, 3] to float32 [B, D]"
    )
    inputs = getattr(network, "inputs", None)
    if not isinstance(network, keras.Model) or not inputs or len(inputs) != 1:
        raise UserError(f"{wanted}. Received: {type(network).__name__}, not such a model.")
    source, features = inputs[0], network.outputs[0]
    fits = (
        len(network.outputs) == 1
        and (source.dtype, features.dtype) == ("uint8", "float32")
        and source.shape == (None, image_size, image_size, 3)
        and len(features.shape) == 2
        and features.shape[1] is not None
    )
    if not fits:
        raise UserError(
            f"{wanted}. Received: {source.dtype} {source.shape} to "
            f"{', '.join(f'{tensor.dtype} {tensor.shape}' for tensor in network.outputs)}."
        )
    return network


def register_backbone(name: str, network: BackboneSpec | Callable[..., keras.Model]) -> None:
    """Add a backbone of your own, for this process.

    From then on `backbone.name` and `semi.backbone.name` of a configuration take the name, and so
    does `build_backbone`. Register it again under the same name to replace it. A later process that
    goes on with the run, or reads it, has to register it first.

    Args:
        name: Letters, digits, `.`, `_` and `-`; not the name of a backbone of this package.
        network: A specification (`ResNetSpec`, `WideResNetSpec` or `BuilderSpec`), or a function,
            which stands for ``BuilderSpec(builder=function)``. The function is called as
            ``function(options, image_size=S, bn_groups=G, seed=N)``, where `options` is the
            `BackboneOptions` of the run. It must return a new functional model at each call, with
            initial weights drawn from the seed, from uint8 ``[B, S, S, 3]`` to float32 ``[B, D]``.
            If a layer is named ``feature_map`` and gives the last map, ``[B, H, W, D]``, the report
            shows where in an image its cluster is seen.

    Raises:
        ValueError: If the name is malformed or belongs to this package.
        TypeError: If the network is neither a specification nor a function.

    Example:
        >>> register_backbone("resnet10", ResNetSpec(repeats=(1, 1, 1, 1)))
        >>> build_backbone("resnet10", image_size=32).output_shape
        (None, 512)
    """
    if name in _PACKAGE_NAMES or not _NAME.fullmatch(name):
        raise ValueError(
            "`name` must consist of letters, digits, '.', '_' and '-', and must not be one of "
            f"{', '.join(sorted(_PACKAGE_NAMES))}. Received: name={name!r}"
        )
    if isinstance(network, BackboneSpec):
        BACKBONES[name] = network
    elif callable(network):
        BACKBONES[name] = BuilderSpec(builder=network)
    else:
        raise TypeError(
            "`network` must be a ResNetSpec, a WideResNetSpec, a BuilderSpec or a function. "
            f"Received: {type(network).__name__}"
        )

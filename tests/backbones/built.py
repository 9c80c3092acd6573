"""Networks of the table, built in one line."""

from __future__ import annotations

from typing import Any

import keras

from spice_keras.backbones.factory import build_backbone
from spice_keras.options import BackboneOptions


def built(
    name: str, image_size: int, *, bn_groups: int = 1, seed: int = 0, **options: Any
) -> keras.Model:
    """The network of a name, with options of `BackboneOptions`."""
    chosen = BackboneOptions(name=name, **options)
    return build_backbone(chosen, image_size=image_size, bn_groups=bn_groups, seed=seed)

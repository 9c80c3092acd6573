"""Networks of images that KerasHub itself draws, small enough for a test."""

from __future__ import annotations

from typing import Any

import keras
import pytest

NETWORKS: dict[str, dict[str, Any]] = {
    "ResNet": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
    },
    "ViT": {
        "image_shape": (48, 48, 3),
        "patch_size": 16,
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 8,
        "mlp_dim": 16,
    },
    "DINOV2": {
        "patch_size": 14,
        "num_layers": 1,
        "hidden_dim": 8,
        "num_heads": 2,
        "intermediate_dim": 16,
        "image_shape": (42, 42, 3),
        "position_embedding_shape": (42, 42, 3),
    },
}
"""Arguments of the backbone of each kind."""


def drawn_backbone(kind: str) -> tuple[keras.Model, keras.layers.Layer, int]:
    """Draw a network and what prepares its pixels.

    Args:
        kind: A name in `NETWORKS`.

    Returns:
        The backbone, its image converter, and the side of its images.
    """
    hub = pytest.importorskip("keras_hub", reason="needs spice-keras[hub]")
    backbone = getattr(hub.models, f"{kind}Backbone")(**NETWORKS[kind])
    side = backbone.inputs[0].shape[1] or 32
    converter = getattr(hub.layers, f"{kind}ImageConverter")(
        image_size=(side, side), scale=[0.01, 0.02, 0.03], offset=[-1.0, 0.0, 0.5]
    )
    return backbone, converter, side

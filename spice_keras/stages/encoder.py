"""The pretrained encoder as an artifact: weights, and what they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import keras

from spice_keras.backbones.factory import build_backbone
from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.backbones.pretrained import pretrained_backbone
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.options import BackboneOptions, PretrainedSpec

_FACTS, _WEIGHTS = "network.json", "network.weights.h5"


def build_encoder(
    backbone: BackboneOptions, *, image_size: int, seed: int, bn_groups: int = 1
) -> keras.Model:
    """Build the encoder a configuration names, for weights that are trained or loaded next."""
    return build_backbone(backbone, image_size=image_size, bn_groups=bn_groups, seed=seed)


def build_initial_encoder(
    backbone: BackboneOptions, *, image_size: int, seed: int, bn_groups: int = 1
) -> keras.Model:
    """Build the encoder pretraining begins with: with its published weights, if it has any."""
    if isinstance(backbone.spec, PretrainedSpec):
        return pretrained_backbone(backbone.name, image_size=image_size)
    return build_encoder(backbone, image_size=image_size, seed=seed, bn_groups=bn_groups)


def save_network(
    folder: Path, network: keras.Model, backbone: BackboneOptions, *, image_size: int
) -> None:
    """Write a network's weights with the facts that rebuild it."""
    network.save_weights(folder / _WEIGHTS)
    write_json(folder / _FACTS, {"backbone": backbone.model_dump(), "image_size": image_size})


def load_network(folder: Path, network: keras.Model, backbone: BackboneOptions) -> None:
    """Load weights into a network built from the same facts.

    Raises:
        UserError: If the weights belong to another network.
    """
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    # Compared as configurations: weights may be older than an option.
    if BackboneOptions.model_validate(facts["backbone"]) != backbone:
        raise UserError(
            f"The weights in {folder} belong to {facts['backbone']}, the configuration asks "
            f"for {backbone.model_dump()}. Use another run directory."
        )
    network.load_weights(folder / _WEIGHTS)


def load_encoder(
    folder: Path, backbone: BackboneOptions, *, image_size: int, fold: bool = True
) -> keras.Model:
    """Rebuild the pretrained encoder, in inference mode.

    Args:
        folder: Where `save_network` wrote it.
        backbone: What it was built from.
        image_size: Side of the images, in pixels.
        fold: Merge batch normalisation into the convolutions: the same function, faster.

    Returns:
        The encoder, not trainable.
    """
    encoder = build_encoder(backbone, image_size=image_size, seed=0)
    load_network(folder, encoder, backbone)
    encoder.trainable = False
    return fold_batch_normalization(encoder) if fold else encoder

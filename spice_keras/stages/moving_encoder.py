"""The encoder the heads were trained on: the pretrained one, or what a variant made of it.

`self.train_encoder` and `self.batch_norm: adapt` change it. What the heads ended on then lies in
the artifact `heads`; the artifacts `encoder` and `embeddings`, which similarity, reliable labels
and SPICE-Semi read, stay those of pretraining.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.objectives import SelfLabeling
from spice_keras.heads.selection import HeadHistory, HeadSelection, MovingHeadSelection
from spice_keras.progress import silent_screen
from spice_keras.run.context import Context
from spice_keras.stages.embed import encode_images
from spice_keras.stages.encoder import load_encoder, save_network

_FOLDER = "encoder"


def encoder_for_heads(context: Context) -> keras.Model:
    """Load the pretrained encoder as SPICE-Self begins with it."""
    moves = context.config.self_labeling.moves_encoder
    # Folded, it would have no batch statistics that could move.
    encoder = _load(context.run.read("encoder", written_by="pretrain"), context, fold=not moves)
    encoder.trainable = moves
    return encoder


def head_selection(
    context: Context,
    labeling: SelfLabeling,
    bank: FeatureBank,
    first_epoch: int,
    history: HeadHistory,
) -> HeadSelection:
    """Make the choice of a head, on features that follow the encoder where it moves."""
    if not context.config.self_labeling.moves_encoder:
        return HeadSelection(bank.features, labeling.losses, first_epoch, history)
    encoder = labeling.model.encoder
    return MovingHeadSelection(
        lambda: _encode(encoder, context.images), encoder, labeling.losses, first_epoch, history
    )


def chosen_features(context: Context, choice: HeadSelection, bank: FeatureBank) -> np.ndarray:
    """Return the features [N, D] that the chosen head reads, its encoder put back."""
    if not isinstance(choice, MovingHeadSelection):
        return bank.features
    choice.put_back()
    return _encode(choice.encoder, context.images)


def save_head_encoder(context: Context, choice: HeadSelection, folder: Path) -> None:
    """Write the encoder beside the heads, where it moved."""
    if isinstance(choice, MovingHeadSelection):
        config = context.config
        (folder / _FOLDER).mkdir()
        size = config.data.image_size
        save_network(folder / _FOLDER, choice.encoder, config.backbone, image_size=size)


def read_head_encoder(context: Context) -> keras.Model:
    """Rebuild the encoder that the chosen head reads, not trainable."""
    folder = context.run.read("heads", written_by="self") / _FOLDER
    if not folder.is_dir():
        folder = context.run.read("encoder", written_by="pretrain")
    return _load(folder, context, fold=True)


def head_features(context: Context, features: np.ndarray) -> np.ndarray:
    """Return what the heads read of these images: the features given, unless the encoder moved."""
    if not context.config.self_labeling.moves_encoder:
        return features
    return _encode(read_head_encoder(context), context.images)


def _load(folder: Path, context: Context, *, fold: bool) -> keras.Model:
    config = context.config
    return load_encoder(folder, config.backbone, image_size=config.data.image_size, fold=fold)


def _encode(encoder: keras.Model, images: np.ndarray) -> np.ndarray:
    with silent_screen().task("encode", len(images)) as task:
        return encode_images(encoder, images, task)

"""Embeddings of the un-augmented images, and each one's nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.neighbors import nearest_neighbors
from spice_keras.stages.context import Context
from spice_keras.stages.encoder import load_encoder
from spice_keras.stages.pretrain import encode


@dataclass(frozen=True)
class Embeddings:
    """The feature bank.

    Attributes:
        features: float32 [N, D], as the encoder gives them: what the heads read.
        normalized: The same on the unit sphere: what similarity reads.
        neighbors: int32 [N, n_s], each row led by the image itself.
    """

    features: np.ndarray
    normalized: np.ndarray
    neighbors: np.ndarray


def embed(context: Context) -> None:
    """Encode every image and write the artifact `embeddings`.

    Args:
        context: The run; its encoder is there.
    """
    config = context.config
    folder = context.run.read("encoder", written_by="pretrain")
    encoder = load_encoder(folder, config.backbone, image_size=config.data.image_size)
    features = encode(encoder, context.images)
    neighbors = nearest_neighbors(l2_normalized(features), context.plan.num_neighbors)
    with context.run.write("embeddings", stage="embed") as target:
        np.save(target / "features.npy", features, allow_pickle=False)
        np.save(target / "neighbors.npy", neighbors, allow_pickle=False)
    context.screen.detail(f"embed: {features.shape[0]} images, {features.shape[1]} features.")


def read_embeddings(context: Context) -> Embeddings:
    """Read the artifact `embeddings`."""
    folder = context.run.read("embeddings", written_by="self")
    features = np.load(folder / "features.npy", allow_pickle=False)
    neighbors = np.load(folder / "neighbors.npy", allow_pickle=False)
    return Embeddings(features, l2_normalized(features), neighbors)

"""Features of images through a frozen encoder, batch by batch in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from spice_keras.augment.policies import Policy
from spice_keras.data.batches import inference_batches
from spice_keras.progress import Task

_BATCH = 128


def encoded_batches(
    encoder: keras.Model,
    images: np.ndarray,
    *,
    view: Policy | None = None,
    seed: int = 0,
    batch_size: int = _BATCH,
    task: Task | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their features.

    Args:
        encoder: uint8 [B, S, S, 3] to features [B, D].
        images: uint8 [N, S, S, 3].
        view: Augments each batch first; None for the images as they are.
        seed: Seed of the views.
        batch_size: Images of a pass.
        task: Its bar moves; None for none.

    Yields:
        Which rows, and their features [b, D].
    """
    if encoder.distribute_strategy.num_replicas_in_sync > 1:
        # Built anew it predicts on one device; its replicas would each encode the whole batch.
        encoder = keras.Model(encoder.inputs, encoder.outputs[0])
    start = 0
    for batch in inference_batches(images, batch_size, view=view, seed=seed):
        features = encoder.predict_on_batch(batch["image"])
        yield slice(start, start + len(features)), features
        start += len(features)
        if task is not None:
            task.advance(len(features))


def encode_images(
    encoder: keras.Model,
    images: np.ndarray,
    *,
    batch_size: int = _BATCH,
    task: Task | None = None,
) -> np.ndarray:
    """Return the features of un-augmented images, float32 [N, D].

    Args:
        encoder: uint8 [B, S, S, 3] to features [B, D].
        images: uint8 [N, S, S, 3].
        batch_size: Images of a pass.
        task: Its bar moves; None for none.

    Returns:
        float32 [N, D].
    """
    features = np.empty((len(images), encoder.output_shape[-1]), np.float32)
    for rows, batch in encoded_batches(encoder, images, batch_size=batch_size, task=task):
        features[rows] = batch
    return features

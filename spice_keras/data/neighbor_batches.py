"""Batches of neighbours: each sample with one of its nearest, as rows of cached features."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from spice_keras.data.feature_batches import FeatureViews, check_batch_size, drawn, step_range
from spice_keras.data.stateless import shuffled_rows
from spice_keras.data.step_dataset import read_rows, step_dataset


def neighbor_batches(
    views: FeatureViews,
    neighbors: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    epochs: int | None = None,
    labels: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Shuffled passes over the samples, each with one of its neighbours drawn at random.

    Args:
        views: Features of the samples under each cached view, [V, N, D]; of both the sample and
            its neighbour each view is equally likely.
        neighbors: Rows of the neighbours of each sample, integers [N, n].
        batch_size: Pairs a batch (B), in 1..N.
        seed: Any integer; with the epoch and the step it fixes the batch.
        first_epoch: Epoch of the first batch, from 0.
        epochs: Epochs to give, counted from `first_epoch`; None never ends.
        labels: A distribution over K clusters for each sample, float32 [N, K]; None for none.

    Returns:
        A data set of {"anchor": float32 [B, D], "neighbor": float32 [B, D]}, with "label":
        float32 [B, K] of the anchors if labels are given; an epoch is N // B batches in which no
        sample is the anchor twice.

    Raises:
        ValueError: For arrays that do not belong together or a batch larger than the data.

    SCAN (arXiv 2005.12320) Sec. 2.2.
    """
    num_views, num_samples, dim = views.shape
    if neighbors.ndim != 2 or len(neighbors) != num_samples:
        raise ValueError(
            "Expected views [V, N, D] and neighbours [N, n] of the same samples. "
            f"Received: views.shape={views.shape}, neighbors.shape={neighbors.shape}"
        )
    if labels is not None and (labels.ndim != 2 or len(labels) != num_samples):
        raise ValueError(
            f"Expected labels [{num_samples}, K]. Received: labels.shape={labels.shape}"
        )
    check_batch_size(batch_size, num_samples)
    given = None if labels is None else tf.constant(labels, tf.float32)

    def batch(step: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = shuffled_rows(step, num_samples, batch_size, seed=seed, stream="order")
        columns = drawn(step, batch_size, neighbors.shape[1], seed=seed, stream="neighbor")
        numbers = drawn(step, 2 * batch_size, num_views, seed=seed, stream="view")
        data, inputs = [views, neighbors], [rows, columns, numbers]
        pair = read_rows(_gathered, data, inputs, tf.float32)
        anchor, neighbor = tf.split(tf.ensure_shape(pair, [2 * batch_size, dim]), 2)
        pairs = {"anchor": anchor, "neighbor": neighbor}
        return pairs if given is None else pairs | {"label": tf.gather(given, rows)}

    return step_dataset(batch, *step_range(num_samples // batch_size, first_epoch, epochs))


def _gathered(
    views: FeatureViews,
    neighbors: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    numbers: np.ndarray,
) -> np.ndarray:
    return views.gather(numbers, np.concatenate([rows, neighbors[rows, columns]]))

"""Batches of cached features: several views of the same items, gathered and never joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.data.stateless import shuffled_rows, step_seed
from spice_keras.data.step_dataset import read_rows, step_dataset


class FeatureViews:
    """Features of N items under V views, in several arrays that are read as one [V, N, D].

    Args:
        arrays: [V_i, N, D] of any floating-point type, in memory or memory-mapped.

    Raises:
        ValueError: If there is no view or the arrays are not of the same items.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._views = [view for array in arrays for view in array]
        shapes = {view.shape for view in self._views}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise ValueError(
                "Expected at least one view [N, D], all of one shape. "
                f"Received: {[array.shape for array in arrays]}"
            )
        self.shape: tuple[int, int, int] = (len(self._views), *self._views[0].shape)

    def gather(self, views: np.ndarray, rows: np.ndarray) -> npt.NDArray[np.float32]:
        """Take a view of each row.

        Args:
            views: Integers [B] in 0..V-1.
            rows: Integers [B] in 0..N-1.

        Returns:
            float32 [B, D].
        """
        taken = np.empty((len(rows), self.shape[2]), np.float32)
        for number in np.unique(views):
            places = np.flatnonzero(views == number)
            taken[places] = self._views[number][rows[places]]
        return taken


def prototype_batches(
    embeddings: np.ndarray,
    *,
    weak: FeatureViews,
    strong: FeatureViews,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    epochs: int | None = None,
) -> tf.data.Dataset:
    """Shuffled passes over the items for SPICE-Self on cached features.

    Args:
        embeddings: float32 [N, D] on the unit sphere, of the items as they are.
        weak: Views that are labelled; each equally likely.
        strong: Views that are trained on; each equally likely.
        batch_size: Items a batch (M), in 1..N.
        seed: Any integer; with the epoch and the step it fixes the batch.
        first_epoch: Epoch of the first batch, from 0.
        epochs: Epochs to give, counted from `first_epoch`; None never ends.

    Returns:
        A data set of {"embedding", "weak", "strong"}: float32 [M, D]; an epoch is N // M batches
        in which no item comes twice.

    Raises:
        ValueError: For arrays of different items or a batch larger than the data.

    SPICE (arXiv 2103.09382) Sec. 3.2: the CNN is fixed, so its features can be kept.
    """
    num_items, dim = embeddings.shape
    if not weak.shape[1:] == strong.shape[1:] == (num_items, dim):
        raise ValueError(
            "Embeddings and views must be of the same items. Received: "
            f"embeddings.shape={embeddings.shape}, weak.shape={weak.shape}, "
            f"strong.shape={strong.shape}"
        )
    check_batch_size(batch_size, num_items)

    def batch(step: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = shuffled_rows(step, num_items, batch_size, seed=seed, stream="order")
        weakly = drawn(step, batch_size, weak.shape[0], seed=seed, stream="weak")
        strongly = drawn(step, batch_size, strong.shape[0], seed=seed, stream="strong")
        data, inputs = [embeddings, weak, strong], [rows, weakly, strongly]
        parts = read_rows(_gathered, data, inputs, tf.float32)
        parts = tf.unstack(tf.ensure_shape(parts, [3, batch_size, dim]))
        return dict(zip(("embedding", "weak", "strong"), parts, strict=True))

    return step_dataset(batch, *step_range(num_items // batch_size, first_epoch, epochs))


def _gathered(
    embeddings: np.ndarray,
    weak: FeatureViews,
    strong: FeatureViews,
    rows: np.ndarray,
    weakly: np.ndarray,
    strongly: np.ndarray,
) -> np.ndarray:
    return np.stack([embeddings[rows], weak.gather(weakly, rows), strong.gather(strongly, rows)])


def step_range(steps: int, first_epoch: int, epochs: int | None) -> tuple[int, int | None]:
    """First step, and the step after the last, of some epochs."""
    start = first_epoch * steps
    return start, None if epochs is None else start + epochs * steps


def drawn(step: tf.Tensor, size: int, stop: int, *, seed: int, stream: str) -> tf.Tensor:
    """Integers below `stop`, a function of (seed, stream, step): int64 [size]."""
    return tf.random.stateless_uniform(
        [size], step_seed(seed, stream, step), minval=0, maxval=stop, dtype=tf.int64
    )


def check_batch_size(batch_size: int, num_items: int) -> None:
    """Refuse a batch that is empty or larger than the data."""
    if not 1 <= batch_size <= num_items:
        raise ValueError(
            f"Expected a batch size in 1..{num_items}, the number of items. "
            f"Received: batch_size={batch_size}"
        )

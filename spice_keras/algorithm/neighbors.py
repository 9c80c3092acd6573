"""Nearest neighbours by cosine, block by block, for the local consistency of SPICE."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_SIMILARITIES = 2**24  # cosines held at a time where the caller does not say: 64 MiB
_LARGEST_BLOCK = 256

NeighborSearch = Callable[[np.ndarray, int], npt.NDArray[np.int32]]
"""L2-normalised embeddings [N, D] and n_s to neighbours [N, n_s], the item itself first."""


def nearest_neighbors(
    embeddings: np.ndarray, num_neighbors: int, block_size: int | None = None
) -> npt.NDArray[np.int32]:
    """The nearest neighbours of every sample by cosine, itself first.

    The N x N similarities never exist at once: memory is block_size * N. A sample counts among
    its own neighbours, as in the released code, and stands in column 0 even where exact
    duplicates of it are in the data.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        block_size: Samples compared with all others at a time, at least 1; where None, at most
            256 and so many that a block stays below 64 MiB.

    Returns:
        Sample indices, most similar first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.

    SPICE (arXiv 2103.09382) Sec. 3.3, the neighbours that Eq. 5 counts.
    """
    check_embeddings(embeddings, num_neighbors)
    if block_size is not None and block_size < 1:
        raise ValueError(f"`block_size` must be at least 1. Received: {block_size=}")
    num_samples = len(embeddings)
    if block_size is None:
        block_size = max(1, min(_LARGEST_BLOCK, _SIMILARITIES // num_samples))
    neighbors = np.empty((num_samples, num_neighbors), np.int32)
    # On the CPU device: a block is as large as a GPU's free memory may be, and its copy would
    # cost more than the selection.
    with tf.device("CPU:0"):
        # TensorFlow's product: on some processors nearly twice as fast as NumPy's.
        rows = tf.convert_to_tensor(embeddings, tf.float32)
        for start in range(0, num_samples, block_size):
            block = slice(start, min(start + block_size, num_samples))
            similarity = tf.matmul(rows[block], rows, transpose_b=True)
            top = tf.math.top_k(similarity, k=num_neighbors, sorted=True).indices.numpy()
            del similarity  # or it lived on beside the next one
            neighbors[block] = led_by_themselves(top, block)
    return neighbors


def led_by_themselves(top: np.ndarray, block: slice) -> np.ndarray:
    """Move each sample of a block to the front of its row, where rounding or a duplicate led.

    Args:
        top: Neighbours of the block's samples, most similar first. Shape: (block, num_neighbors).
        block: Rows of the samples.

    Returns:
        The same, each sample first in its own row.
    """
    own = np.arange(block.start, block.stop)[:, np.newaxis]
    others = top != own
    # Behind more duplicates than there are places: the last of them makes room.
    others[others.all(axis=1), -1] = False
    return np.concatenate([own, top[others].reshape(len(top), -1)], axis=1)


def check_embeddings(embeddings: np.ndarray, num_neighbors: int) -> None:
    """Refuse what no search can answer.

    Args:
        embeddings: To search. Shape: (num_samples, dim).
        num_neighbors: n_s.

    Raises:
        ValueError: If n_s is out of range or an embedding is not finite.
    """
    if embeddings.ndim != 2:
        raise ValueError(
            f"`embeddings` must be (num_samples, dim). Received: shape={embeddings.shape}"
        )
    if not 1 <= num_neighbors <= len(embeddings):
        raise ValueError(
            "`num_neighbors` counts the sample itself and must lie between 1 and the number of "
            f"samples. Received: {num_neighbors=}, num_samples={len(embeddings)}"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("`embeddings` must be finite. Received: an array with NaN or infinity")

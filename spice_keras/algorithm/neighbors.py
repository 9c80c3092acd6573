"""Nearest neighbours by cosine, block by block, for the local consistency of SPICE."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def nearest_neighbors(
    embeddings: np.ndarray, num_neighbors: int, block_size: int = 1024
) -> npt.NDArray[np.int32]:
    """The nearest neighbours of every sample by cosine, itself first.

    The N x N similarities never exist at once: memory is block_size * N. A sample counts among
    its own neighbours, as in the released code, and stands in column 0 even where exact
    duplicates of it are in the data.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        block_size: Samples compared with all others at a time, at least 1.

    Returns:
        Sample indices, most similar first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.

    SPICE (arXiv 2103.09382) Sec. 3.3, the neighbours that Eq. 5 counts.
    """
    _check(embeddings, num_neighbors, block_size)
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    neighbors = np.empty((len(rows), num_neighbors), np.int32)
    similarity = np.empty((min(block_size, len(rows)), len(rows)), np.float32)
    for start in range(0, len(rows), block_size):
        block = rows[start : start + block_size]
        scores = similarity[: len(block)]
        np.matmul(block, rows.T, out=scores)
        own = np.arange(len(block))
        # Rounding may place a duplicate before the sample itself.
        scores[own, start + own] = np.inf
        # On the CPU device: a block is as large as a GPU's free memory may be, and its copy
        # would cost more than the selection.
        with tf.device("CPU:0"):
            top = tf.math.top_k(scores, k=num_neighbors, sorted=True)
        neighbors[start : start + len(block)] = top.indices.numpy()
    return neighbors


def _check(embeddings: np.ndarray, num_neighbors: int, block_size: int) -> None:
    if embeddings.ndim != 2:
        raise ValueError(
            f"`embeddings` must be (num_samples, dim). Received: shape={embeddings.shape}"
        )
    if not 1 <= num_neighbors <= len(embeddings):
        raise ValueError(
            "`num_neighbors` counts the sample itself and must lie between 1 and the number of "
            f"samples. Received: {num_neighbors=}, num_samples={len(embeddings)}"
        )
    if block_size < 1:
        raise ValueError(f"`block_size` must be at least 1. Received: {block_size=}")
    if not np.isfinite(embeddings).all():
        raise ValueError("`embeddings` must be finite. Received: an array with NaN or infinity")

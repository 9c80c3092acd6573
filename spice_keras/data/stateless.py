"""Counter-based randomness: orders and draws computed from (seed, stream, step) alone."""

from __future__ import annotations

import zlib

import numpy as np
import tensorflow as tf

# TensorFlow's own index_shuffle fixes 4 rounds of the cipher: with 50,000 rows neighbours then
# meet in a batch only 0.6 times as often as chance has it. From 8 rounds on they meet as often.
_CIPHER_ROUNDS = 16


def step_seed(seed: int, stream: str, step: tf.Tensor) -> tf.Tensor:
    """Seed of one random stream at one step.

    Args:
        seed: any integer.
        stream: name of the stream; streams of different names are independent.
        step: integer scalar, the step (or pass) counted from 0.

    Returns:
        int32 [2], as the stateless random operations of TensorFlow take it.
    """
    words = np.array([seed, zlib.crc32(stream.encode())], np.int64)
    start = tf.constant(words.astype(np.uint32).view(np.int32))
    return tf.random.experimental.stateless_fold_in(start, tf.cast(step, tf.int32))


def shuffled_rows(
    step: tf.Tensor, num_rows: int, batch_size: int, *, seed: int, stream: str
) -> tf.Tensor:
    """Rows of one batch of shuffled passes over the data, without a shuffle buffer.

    Args:
        step: int64 scalar, the step counted over all passes.
        num_rows: rows of the data (N).
        batch_size: rows a batch (B), in 1..N.
        seed: any integer.
        stream: name of the random stream.

    Returns:
        int64 [B], rows in 0..N-1; the N // B batches of a pass share none.
    """
    steps = num_rows // batch_size
    key_seed = step_seed(seed, stream, step // steps)
    # Each row is found alone, by a cipher on 0..N-1 keyed by the pass: no pass over all N.
    return tf.raw_ops.RandomIndexShuffle(
        index=(step % steps) * batch_size + tf.range(batch_size, dtype=tf.int64),
        seed=tf.random.stateless_uniform([3], key_seed, None, None, tf.int32),
        max_index=tf.constant(num_rows - 1, tf.int64),
        rounds=_CIPHER_ROUNDS,
    )


def balanced_draw(
    step: tf.Tensor, batch_size: int, *, seed: int, starts: np.ndarray, counts: np.ndarray
) -> tf.Tensor:
    """Draw places from a list sorted by cluster, every cluster equally often.

    Args:
        step: int64 scalar.
        batch_size: places to draw (B).
        seed: any integer.
        starts: integers [K], where each cluster begins in the list.
        counts: integers [K], at least 1, how many places it has.

    Returns:
        int64 [B]: clusters in turn, going on where the batch before stopped, and within the
        cluster each place equally likely, with replacement.
    """
    turns = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    cluster = turns % len(counts)
    uniform = tf.random.stateless_uniform(
        [batch_size], step_seed(seed, "labeled", step), dtype=tf.float64
    )
    return _place(cluster, uniform, starts, counts)


def proportional_draw(
    step: tf.Tensor,
    batch_size: int,
    *,
    seed: int,
    starts: np.ndarray,
    counts: np.ndarray,
    shares: np.ndarray,
) -> tf.Tensor:
    """Draw places from a list sorted by cluster, every cluster as often as it is large.

    Args:
        step: int64 scalar.
        batch_size: places to draw (B).
        seed: any integer.
        starts: integers [K], where each cluster begins in the list.
        counts: integers [K], at least 1, how many places it has.
        shares: [K], above 0, how large the clusters are; need not add up to 1.

    Returns:
        int64 [B]: each place of a cluster equally likely, with replacement.
    """
    uniform = tf.random.stateless_uniform(
        [2, batch_size], step_seed(seed, "labeled", step), dtype=tf.float64
    )
    ends = np.cumsum(shares, dtype=np.float64)
    # Without the last end a number that rounds up to 1 stays within the last cluster.
    cluster = tf.searchsorted(ends[:-1] / ends[-1], uniform[0], side="right")
    return _place(cluster, uniform[1], starts, counts)


def _place(
    cluster: tf.Tensor, uniform: tf.Tensor, starts: np.ndarray, counts: np.ndarray
) -> tf.Tensor:
    """A place of each cluster, int64 [B], by a float64 number in [0, 1)."""
    member = tf.cast(uniform * tf.gather(counts.astype(np.float64), cluster), tf.int64)
    return tf.gather(starts.astype(np.int64), cluster) + member


def uniform_draw(
    step: tf.Tensor, batch_size: int, *, seed: int, starts: np.ndarray, counts: np.ndarray
) -> tf.Tensor:
    """Draw places from a list sorted by cluster, each place equally likely, with replacement.

    Args:
        step: int64 scalar.
        batch_size: places to draw (B).
        seed: any integer.
        starts: integers [K], where each cluster begins in the list.
        counts: integers [K], how many places it has.

    Returns:
        int64 [B].
    """
    return tf.random.stateless_uniform(
        [batch_size],
        step_seed(seed, "labeled", step),
        minval=0,
        maxval=int(starts[-1] + counts[-1]),
        dtype=tf.int64,
    )

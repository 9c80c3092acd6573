"""How large each head finds its clusters, and how many samples each may claim for that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def estimated_shares(log_probabilities: tf.Tensor, evenness: Sequence[float]) -> tf.Tensor:
    """The share of the samples that each cluster has, as each head sees it.

    It is the mean of the head's predictions, drawn towards equal shares. A head that knows nothing
    yet finds equal shares, as the paper takes for granted.

    Args:
        log_probabilities: Log probabilities of every head.
            Shape: (num_heads, num_samples, num_clusters).
        evenness: Of each head, the weight of equal shares in [0, 1]: 0 for the mean prediction
            alone, 1 for equal shares alone.

    Returns:
        float32 distributions over the clusters. Shape: (num_heads, num_clusters).

    Raises:
        ValueError: If a weight is out of range, or there is not one for each head.
    """
    num_heads, _, num_clusters = log_probabilities.shape
    weights = np.asarray(evenness, np.float32)
    if weights.shape != (num_heads,) or not np.all((weights >= 0) & (weights <= 1)):
        raise ValueError(
            f"`evenness` must hold {num_heads} weights in [0, 1], one for each head. "
            f"Received: {evenness=}"
        )
    seen = tf.reduce_mean(tf.exp(tf.cast(log_probabilities, tf.float32)), axis=1)
    seen /= tf.reduce_sum(seen, axis=-1, keepdims=True)
    return seen * (1 - weights)[:, np.newaxis] + (weights / num_clusters)[:, np.newaxis]


def claim_counts(shares: tf.Tensor, num_samples: int) -> tf.Tensor:
    """How many samples each cluster may claim, in proportion to its share, at least one.

    One each, and the others by largest remainder; of equal remainders the first cluster's. Equal
    shares give what the paper gives: M // K each.

    Args:
        shares: Distributions over the clusters. Shape: (num_heads, num_clusters).
        num_samples: M, samples labelled together, at least `num_clusters`.

    Returns:
        int32 counts that add up to K * (M // K). Shape: (num_heads, num_clusters).

    Raises:
        ValueError: If there are fewer samples than clusters.

    SPICE (arXiv 2103.09382) Sec. 3.2, Step 2, for clusters of unequal size.
    """
    num_clusters = shares.shape[-1]
    if num_samples < num_clusters:
        raise ValueError(
            "Each cluster needs a sample: give more samples or ask for fewer clusters. "
            f"Received: {num_samples=}, {num_clusters=}"
        )
    spare = num_clusters * (num_samples // num_clusters) - num_clusters
    wanted = tf.cast(shares, tf.float32) * spare
    whole = tf.floor(wanted)
    left = spare - tf.cast(tf.reduce_sum(whole, axis=-1, keepdims=True), tf.int32)
    order = tf.argsort(wanted - whole, axis=-1, direction="DESCENDING", stable=True)
    more = tf.cast(tf.argsort(order, axis=-1) < left, tf.int32)
    return 1 + tf.cast(whole, tf.int32) + more


def confident_counts(counts: tf.Tensor, confident_ratio: float) -> tf.Tensor:
    """How many of its most confident samples stand for a cluster that claims so many.

    Args:
        counts: Samples that each cluster claims, int32 of any shape.
        confident_ratio: r in (0, 1].

    Returns:
        int32 max(1, int(r * count)).

    Raises:
        ValueError: If the ratio is out of range.

    SPICE (arXiv 2103.09382) Sec. 3.2, Step 1, for clusters of unequal size.
    """
    if not 0 < confident_ratio <= 1:
        raise ValueError(f"`confident_ratio` must lie in (0, 1]. Received: {confident_ratio=}")
    # float64, as Python multiplies: .29 * 100 is 28 there, and 29 in float32.
    scaled = tf.cast(counts, tf.float64) * tf.constant(confident_ratio, tf.float64)
    return tf.maximum(1, tf.cast(scaled, tf.int32))

"""Which samples the clusters claim: those they score highest, with overlap or without."""

from __future__ import annotations

from typing import get_args

import tensorflow as tf

from spice_keras.options import ClaimRule


def claimed_samples(scores: tf.Tensor, count: int, assignment: ClaimRule = "overlap") -> tf.Tensor:
    """The samples that each head's clusters score highest.

    Args:
        scores: How well a sample suits a cluster. Shape: (num_heads, num_clusters, num_samples).
        count: Samples each cluster claims.
        assignment: ``"overlap"``: a sample may be claimed by several clusters or by none;
            ``"exclusive"``: by one at most (see `exclusive_samples`).

    Returns:
        int32 sample indices, best first. Shape: (num_heads, num_clusters, count).

    Raises:
        ValueError: If the clusters cannot claim as many, or for another assignment.

    SPICE (arXiv 2103.09382) Eq. 1 and 3; Table 4, "Non-overlap".
    """
    if assignment not in get_args(ClaimRule):
        raise ValueError(
            f"`assignment` must be one of {get_args(ClaimRule)}. Received: {assignment=}"
        )
    if assignment == "exclusive":
        return exclusive_samples(scores, count)
    return tf.math.top_k(scores, k=count, sorted=True).indices


def exclusive_samples(scores: tf.Tensor, count: int) -> tf.Tensor:
    """Highest-scoring samples of each cluster, no sample twice: greedily, cluster 0 first.

    Each cluster in turn claims the best samples that no cluster before it has claimed, as the
    released code does, so a cluster of a higher number chooses from fewer samples.

    Args:
        scores: Finite scores. Shape: (num_heads, num_clusters, num_samples).
        count: Samples each cluster claims; num_clusters * count must not exceed num_samples.

    Returns:
        int32 sample indices, best first. Shape: (num_heads, num_clusters, count).

    Raises:
        ValueError: If there are not enough samples.

    SPICE (arXiv 2103.09382) Table 4, "Non-overlap".
    """
    num_clusters, num_samples = scores.shape[1:]
    if num_clusters * count > num_samples:
        raise ValueError(
            f"{num_clusters} clusters cannot claim {count} samples each without overlap. "
            f"Received: {count=}, scores.shape={scores.shape}"
        )
    by_cluster = tf.transpose(tf.cast(scores, tf.float32), [1, 0, 2])
    num_heads = tf.shape(scores)[0]
    heads = tf.repeat(tf.range(num_heads), count)

    def claim(
        state: tuple[tf.Tensor, tf.Tensor], cluster: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        free, _ = state
        best = tf.math.top_k(tf.where(free, cluster, -float("inf")), k=count, sorted=True).indices
        places = tf.stack([heads, tf.reshape(best, [-1])], axis=1)
        return tf.tensor_scatter_nd_update(free, places, tf.zeros_like(heads, tf.bool)), best

    start = tf.ones([num_heads, num_samples], tf.bool), tf.zeros([num_heads, count], tf.int32)
    _, claimed = tf.scan(claim, by_cluster, start)
    shape = [scores.shape[0], num_clusters, count]
    return tf.ensure_shape(tf.transpose(claimed, [1, 0, 2]), shape)


def sized_claims(
    scores: tf.Tensor, counts: tf.Tensor, assignment: ClaimRule = "overlap"
) -> tf.Tensor:
    """Mark the samples that clusters claim if each may claim a number of its own.

    Args:
        scores: Finite scores. Shape: (num_heads, num_clusters, num_samples).
        counts: Integers, samples each cluster claims. Shape: (num_heads, num_clusters).
        assignment: See `claimed_samples`.

    Returns:
        bool, whether the cluster claims the sample; of equal scores those of lower index. With
        ``"exclusive"`` the counts of a head must not add up to more than num_samples.
        Shape: (num_heads, num_clusters, num_samples).

    Raises:
        ValueError: For another assignment.

    SPICE (arXiv 2103.09382) Eq. 1 and 3, for clusters of unequal size.
    """
    if assignment not in get_args(ClaimRule):
        raise ValueError(
            f"`assignment` must be one of {get_args(ClaimRule)}. Received: {assignment=}"
        )
    scores, counts = tf.cast(scores, tf.float32), tf.cast(counts, tf.int32)
    if assignment == "overlap":
        return _ranks(scores) < counts[:, :, tf.newaxis]

    def claim(
        state: tuple[tf.Tensor, tf.Tensor], cluster: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        free, (row, count) = state[0], cluster
        claimed = _ranks(tf.where(free, row, -float("inf"))) < count[:, tf.newaxis]
        return free & ~claimed, claimed

    turns = tf.transpose(scores, [1, 0, 2]), tf.transpose(counts)
    nothing = tf.zeros_like(scores[:, 0], tf.bool)
    _, claimed = tf.scan(claim, turns, (~nothing, nothing))
    return tf.ensure_shape(tf.transpose(claimed, [1, 0, 2]), scores.shape)


def _ranks(scores: tf.Tensor) -> tf.Tensor:
    """How many samples come before each, the highest score first. Any shape (..., num_samples)."""
    order = tf.argsort(scores, axis=-1, direction="DESCENDING", stable=True)
    return tf.argsort(order, axis=-1)

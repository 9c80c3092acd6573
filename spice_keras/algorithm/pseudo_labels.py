"""Prototype pseudo-labels of SPICE-Self: each cluster claims the samples nearest its prototype."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from spice_keras.algorithm.claims import claimed_samples
from spice_keras.options import ClaimRule


class PseudoLabels(NamedTuple):
    """Training pairs of every head: sample `indices[h, i]` has the label `labels[i]`.

    Attributes:
        indices: int32 sample indices, cluster after cluster, nearest first.
            Shape: (num_heads, num_clusters * num_per_cluster).
        labels: int32 labels, the same for each head: 0, ..., 0, 1, ..., 1, ...
            Shape: (num_clusters * num_per_cluster,).
    """

    indices: tf.Tensor
    labels: tf.Tensor


def pseudo_labels(
    embeddings: tf.Tensor,
    prototypes: tf.Tensor,
    num_per_cluster: int,
    assignment: ClaimRule = "overlap",
) -> PseudoLabels:
    """Label the samples nearest each prototype, equally many for every cluster.

    With overlap a sample may be claimed by several clusters or by none: that tells the heads
    where clusters are ambiguous (the paper found assigning without overlap to be worse).

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        prototypes: Prototypes of every head. Shape: (num_heads, num_clusters, dim).
        num_per_cluster: Samples each cluster claims, M // K in the paper; between 1 and
            num_samples.
        assignment: Whether a sample may get several labels.

    Returns:
        The pairs of each head, exactly `num_per_cluster` for every cluster.

    Raises:
        ValueError: If `num_per_cluster` does not lie between 1 and the number of samples.

    SPICE (arXiv 2103.09382) Eq. 3, Sec. 3.2.
    """
    num_samples = embeddings.shape[0]
    if num_per_cluster < 1 or (num_samples is not None and num_per_cluster > num_samples):
        raise ValueError(
            "`num_per_cluster` must lie between 1 and the number of samples. "
            f"Received: {num_per_cluster=}, {num_samples=}"
        )
    embeddings = tf.cast(embeddings, tf.float32)
    prototypes = tf.cast(prototypes, tf.float32)
    similarity = tf.einsum("hkd,md->hkm", prototypes, embeddings)
    nearest = claimed_samples(similarity, num_per_cluster, assignment)
    num_heads, num_clusters = tf.unstack(tf.shape(prototypes)[:2])
    indices = tf.reshape(nearest, [num_heads, num_clusters * num_per_cluster])
    labels = tf.repeat(tf.range(num_clusters, dtype=tf.int32), num_per_cluster)
    if prototypes.shape[1] is not None:
        num_pairs = prototypes.shape[1] * num_per_cluster
        indices = tf.ensure_shape(indices, [prototypes.shape[0], num_pairs])
        labels = tf.ensure_shape(labels, [num_pairs])
    return PseudoLabels(indices=indices, labels=labels)

"""Prototype pseudo-labels of SPICE-Self: each cluster claims the samples nearest its prototype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from spice_keras.algorithm.claims import claimed_samples, sized_claims
from spice_keras.algorithm.cluster_sizes import claim_counts, confident_counts, estimated_shares
from spice_keras.algorithm.prototypes import num_confident, prototypes, sized_prototypes
from spice_keras.options import ClaimRule


class PseudoLabels(NamedTuple):
    """Training pairs of every head: sample `indices[h, i]` has the label `labels[i]`.

    Attributes:
        indices: int32 sample indices, cluster after cluster, nearest first.
            Shape: (num_heads, num_clusters * num_per_cluster).
        labels: int32 labels, the same for each head: 0, ..., 0, 1, ..., 1, ...
            Shape: (num_clusters * num_per_cluster,). If clusters claim numbers of their own:
            those of each head, with `indices` sample after sample.
            Shape: (num_heads, num_clusters * num_per_cluster).
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


def sized_pseudo_labels(
    embeddings: tf.Tensor,
    prototypes: tf.Tensor,
    counts: tf.Tensor,
    assignment: ClaimRule = "overlap",
) -> PseudoLabels:
    """Label the samples nearest each prototype, as many as the cluster is large.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        prototypes: Prototypes of every head. Shape: (num_heads, num_clusters, dim).
        counts: Integers, samples each cluster claims, at least 1; those of a head add up to
            K * (M // K), as those of `claim_counts` do. Shape: (num_heads, num_clusters).
        assignment: Whether a sample may get several labels.

    Returns:
        The pairs of each head, labels [H, K * (M // K)].

    SPICE (arXiv 2103.09382) Eq. 3, for clusters of unequal size.
    """
    similarity = tf.einsum(
        "hkd,md->hkm", tf.cast(prototypes, tf.float32), tf.cast(embeddings, tf.float32)
    )
    num_heads, num_clusters, num_samples = similarity.shape
    claimed = sized_claims(similarity, counts, assignment)
    pairs = tf.cast(tf.where(tf.transpose(claimed, [0, 2, 1])), tf.int32)
    shape = [num_heads, num_clusters * (num_samples // num_clusters)]
    return PseudoLabels(tf.reshape(pairs[:, 1], shape), tf.reshape(pairs[:, 2], shape))


def own_pseudo_labels(
    embeddings: tf.Tensor,
    log_probabilities: tf.Tensor,
    confident_ratio: float,
    *,
    assignment: ClaimRule = "overlap",
    evenness: Sequence[float] | None = None,
) -> PseudoLabels:
    """Label samples by the prototypes that the heads' own predictions give.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        log_probabilities: Log probabilities of every head.
            Shape: (num_heads, num_samples, num_clusters).
        confident_ratio: r in (0, 1], the share of what a cluster claims that makes its prototype.
        assignment: Whether a sample may stand for several clusters, and get several labels.
        evenness: For clusters that claim as many as they are large, see `estimated_shares`; None
            for the paper's, which all claim M // K.

    Returns:
        The pairs of each head; labels [P] without `evenness` and [H, P] with it.

    SPICE (arXiv 2103.09382) Sec. 3.2, Steps 1 and 2.
    """
    _, num_samples, num_clusters = log_probabilities.shape
    if evenness is None:
        chosen = num_confident(num_samples, num_clusters, confident_ratio)
        centers = prototypes(embeddings, log_probabilities, chosen, assignment)
        return pseudo_labels(embeddings, centers, num_samples // num_clusters, assignment)
    counts = claim_counts(estimated_shares(log_probabilities, evenness), num_samples)
    surest = confident_counts(counts, confident_ratio)
    centers = sized_prototypes(embeddings, log_probabilities, surest, assignment)
    return sized_pseudo_labels(embeddings, centers, counts, assignment)

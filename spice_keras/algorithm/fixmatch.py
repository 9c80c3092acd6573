"""FixMatch: the loss that trains the final classifier of SPICE-Semi on reliable labels."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class FixMatchLoss(NamedTuple):
    """The FixMatch loss and its parts, float32 scalars.

    Attributes:
        total: supervised + unlabeled_weight * unsupervised.
        supervised: Mean cross-entropy of the labelled samples, in nats.
        unsupervised: Cross-entropy of the strong views against the confident weak ones, averaged
            over all unlabelled samples; the others count as 0.
        mask_ratio: Share of unlabelled samples whose weak view is confident, in [0, 1].
    """

    total: tf.Tensor
    supervised: tf.Tensor
    unsupervised: tf.Tensor
    mask_ratio: tf.Tensor


def fixmatch_loss(
    labels: tf.Tensor,
    labeled_logits: tf.Tensor,
    weak_logits: tf.Tensor,
    strong_logits: tf.Tensor,
    *,
    threshold: float,
    unlabeled_weight: float,
) -> FixMatchLoss:
    """Cross-entropy on labels plus consistency of strong views with confident weak ones.

    The weak view only supplies the target, an argmax: no gradient flows through it.

    Args:
        labels: Integer labels of the labelled samples. Shape: (num_labeled,).
        labeled_logits: Their scores. Shape: (num_labeled, num_clusters).
        weak_logits: Scores of the weak views. Shape: (num_unlabeled, num_clusters).
        strong_logits: Scores of the strong views of the same samples.
            Shape: (num_unlabeled, num_clusters).
        threshold: tau; a weak view counts when its largest probability is at least this.
        unlabeled_weight: lambda_u, the weight of the unsupervised part.

    Returns:
        The loss and its parts.

    SPICE (arXiv 2103.09382) Eq. 6, Sec. 3.3; FixMatch (arXiv 2001.07685) Eq. 3-4.
    """
    labeled_logits = tf.cast(labeled_logits, tf.float32)
    strong_logits = tf.cast(strong_logits, tf.float32)
    weak_logits = tf.stop_gradient(tf.cast(weak_logits, tf.float32))

    confidence = tf.reduce_max(tf.nn.softmax(weak_logits, axis=-1), axis=-1)
    mask = tf.cast(confidence >= threshold, tf.float32)
    targets = tf.argmax(weak_logits, axis=-1, output_type=tf.int32)

    supervised = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=labeled_logits)
    )
    consistency = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=targets, logits=strong_logits
    )
    # The mean runs over all samples, not over the confident ones: few confident samples then
    # weigh little, which is what lets lambda_u stay constant.
    unsupervised = tf.reduce_mean(mask * consistency)
    return FixMatchLoss(
        total=supervised + unlabeled_weight * unsupervised,
        supervised=supervised,
        unsupervised=unsupervised,
        mask_ratio=tf.reduce_mean(mask),
    )

"""Losses of SPICE-Self's heads: the paper's, those it is compared with, and the entropy term."""

from __future__ import annotations

from typing import get_args

import tensorflow as tf

from spice_keras.algorithm.double_softmax import double_softmax_cross_entropy
from spice_keras.algorithm.neighbor_consistency import mean_entropy
from spice_keras.options import SelfLoss


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Ordinary cross-entropy of softmax(logits), which no wrong pseudo-label can talk down.

    Args:
        labels: Integer labels in 0..num_clusters-1. Shape: (...).
        logits: Scores of the clusters, before any softmax. Shape: (..., num_clusters).

    Returns:
        float32 loss of each item, in nats, at least 0. Shape: (...).

    SPICE (arXiv 2103.09382) Table 4, "CE".
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=tf.cast(logits, tf.float32)
    )


def tempered(logits: tf.Tensor, loss: SelfLoss, temperature: float) -> tf.Tensor:
    """What the heads say: their scores, over T where they are trained with a temperature.

    The division belongs to the head and not to the loss, as in the released code, so that its
    probabilities are the same ones when samples are ranked, heads judged and labels trusted.

    Args:
        logits: Scores of the clusters. Shape: (..., num_clusters).
        loss: The loss the heads are trained with.
        temperature: T > 0; 0.2 in the paper. Read by the loss ``"temperature"`` alone.

    Returns:
        float32 scores of the same shape.

    SPICE (arXiv 2103.09382) Table 4, "TCE".
    """
    logits = tf.cast(logits, tf.float32)
    return logits / temperature if loss == "temperature" else logits


def pair_losses(labels: tf.Tensor, logits: tf.Tensor, loss: SelfLoss) -> tf.Tensor:
    """Loss of each pair of a sample and its pseudo-label.

    Args:
        labels: Integer labels in 0..num_clusters-1. Shape: (...).
        logits: Scores of the clusters, already over the temperature (see `tempered`).
            Shape: (..., num_clusters).
        loss: ``"double-softmax"``: the paper's; ``"softmax"`` and ``"temperature"``: ordinary
            cross-entropy, of scores that `tempered` left alone or divided.

    Returns:
        float32 losses in nats. Shape: (...).

    Raises:
        ValueError: For another loss.

    SPICE (arXiv 2103.09382) Eq. 4; Table 4, "CE" and "TCE".
    """
    if loss not in get_args(SelfLoss):
        raise ValueError(f"`loss` must be one of {get_args(SelfLoss)}. Received: {loss=}")
    if loss == "double-softmax":
        return double_softmax_cross_entropy(labels, logits)
    return cross_entropy(labels, logits)


def entropy_term(logits: tf.Tensor, entropy_weight: float) -> tf.Tensor:
    """What is added to a head's mean loss so that it uses all clusters: -w H(mean softmax).

    The paper needs it for 200 clusters and gives no weight. It is summed from log-probabilities,
    so that a cluster nobody chooses still has a gradient (the released code clips the mean at
    1e-5, if it has none).

    Args:
        logits: Scores of the clusters. Shape: (..., batch, num_clusters).
        entropy_weight: w >= 0.

    Returns:
        float32 sum of w * pbar ln pbar over the clusters, between -w ln(num_clusters) and 0.
        Shape: (...).

    SPICE (arXiv 2103.09382) Sec. 4 and Table 4, "+ Entropy".
    """
    scores = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return -entropy_weight * mean_entropy(scores)

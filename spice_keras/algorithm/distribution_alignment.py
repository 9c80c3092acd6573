"""Distribution alignment: targets whose clusters are equally frequent."""

from __future__ import annotations

import tensorflow as tf

_SMALLEST_SHARE = 1e-6


def align_to_uniform(logits: tf.Tensor, marginal: tf.Tensor) -> tf.Tensor:
    """Scores whose softmax is the prediction divided by the clusters' predicted frequencies.

    Where the network assigns a cluster too often, its probabilities shrink; where too seldom, they
    grow. It puts SPICE's assumption of equally frequent clusters, which SPICE-Self builds into its
    pseudo-labels, into the targets of SPICE-Semi. The paper does not do this.

    Args:
        logits: Scores of the weak views. Shape: (..., num_clusters).
        marginal: Mean predicted probability of each cluster, in [0, 1]; shares below 1e-6 count as
            1e-6. Shape: (num_clusters,).

    Returns:
        float32 scores of the same shape; their softmax is Normalize(p / marginal).

    ReMixMatch (arXiv 1911.09785) Sec. 3.1, with the uniform distribution as its p(y).
    """
    shares = tf.maximum(tf.cast(marginal, tf.float32), _SMALLEST_SHARE)
    return tf.nn.log_softmax(tf.cast(logits, tf.float32), axis=-1) - tf.math.log(shares)

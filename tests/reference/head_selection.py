"""Steps 1-3 of SPICE-Self for one head on the whole data set, then its mean loss."""

from __future__ import annotations

import numpy as np

from tests.reference.double_softmax import double_softmax_cross_entropy
from tests.reference.prototypes import log_probability, prototypes
from tests.reference.pseudo_labels import pseudo_labels


def head_loss(embeddings: np.ndarray, logits: np.ndarray, confident_ratio: float) -> float:
    num_samples, num_clusters = logits.shape
    per_cluster = num_samples // num_clusters
    log_probabilities = np.array(
        [[log_probability(row, cluster) for cluster in range(num_clusters)] for row in logits]
    )
    centers = prototypes(
        embeddings, log_probabilities[np.newaxis], max(1, int(confident_ratio * per_cluster))
    )
    (pairs,) = pseudo_labels(embeddings, centers, per_cluster)
    losses = [
        double_softmax_cross_entropy(np.array([label]), logits[sample : sample + 1])[0]
        for sample, label in pairs
    ]
    return float(np.mean(losses))

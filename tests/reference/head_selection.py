"""Steps 1-3 of SPICE-Self for one head on the whole data set, then its mean loss."""

from __future__ import annotations

import numpy as np

from tests.reference.claims import claimed
from tests.reference.prototypes import log_probability
from tests.reference.self_losses import entropy_term, pair_losses


def head_loss(
    embeddings: np.ndarray,
    logits: np.ndarray,
    confident_ratio: float,
    *,
    loss: str = "double-softmax",
    exclusive: bool = False,
    entropy_weight: float = 0.0,
) -> float:
    num_samples, num_clusters = logits.shape
    per_cluster = num_samples // num_clusters
    confident = max(1, int(confident_ratio * per_cluster))
    scores = np.array(
        [[log_probability(row, cluster) for row in logits] for cluster in range(num_clusters)]
    )
    (chosen,) = claimed(scores[np.newaxis], confident, exclusive=exclusive)
    centers = np.array([embeddings[samples].mean(axis=0) for samples in chosen])
    similarity = np.array([[np.dot(center, row) for row in embeddings] for center in centers])
    (labelled,) = claimed(similarity[np.newaxis], per_cluster, exclusive=exclusive)
    losses = [
        pair_losses(np.array([label]), logits[sample : sample + 1], loss, 1.0)[0]
        for label, samples in enumerate(labelled)
        for sample in samples
    ]
    return float(np.mean(losses)) + entropy_term(logits, entropy_weight)

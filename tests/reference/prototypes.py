"""Eq. 1-2 of SPICE: sort the samples by their probability for a cluster, average the first."""

from __future__ import annotations

import numpy as np


def log_probability(logits: np.ndarray, cluster: int) -> float:
    """ln of the softmax of one cluster, in float64."""
    largest = max(float(logit) for logit in logits)
    return (
        float(logits[cluster])
        - largest
        - float(np.log(sum(np.exp(float(logit) - largest) for logit in logits)))
    )


def confident_samples(log_probabilities: np.ndarray, num_confident: int) -> np.ndarray:
    chosen = []
    for head in log_probabilities:
        clusters = []
        for cluster in range(head.shape[1]):
            ranked = sorted(range(len(head)), key=lambda sample: -head[sample, cluster])
            clusters.append(ranked[:num_confident])
        chosen.append(clusters)
    return np.array(chosen)


def prototypes(
    embeddings: np.ndarray, log_probabilities: np.ndarray, num_confident: int
) -> np.ndarray:
    chosen = confident_samples(log_probabilities, num_confident)
    heads = []
    for clusters in chosen:
        centers = []
        for samples in clusters:
            center = np.zeros(embeddings.shape[1])
            for sample in samples:
                center += embeddings[sample]
            centers.append(center / num_confident)
        heads.append(centers)
    return np.array(heads)

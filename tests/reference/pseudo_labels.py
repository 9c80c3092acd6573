"""Eq. 3 of SPICE: every cluster takes its nearest samples and gives them its label."""

from __future__ import annotations

import numpy as np


def pseudo_labels(
    embeddings: np.ndarray, prototypes: np.ndarray, num_per_cluster: int
) -> list[list[tuple[int, int]]]:
    """Pairs (sample, label) of each head, cluster after cluster, nearest first."""
    heads = []
    for centers in prototypes:
        pairs = []
        for label, center in enumerate(centers):
            similarity = [float(np.dot(center, embedding)) for embedding in embeddings]
            ranked = sorted(range(len(embeddings)), key=lambda sample: -similarity[sample])
            pairs += [(sample, label) for sample in ranked[:num_per_cluster]]
        heads.append(pairs)
    return heads

"""Nearest neighbours by sorting all of one sample, the sample itself in front."""

from __future__ import annotations

import numpy as np


def nearest_neighbors(embeddings: np.ndarray, num_neighbors: int) -> np.ndarray:
    rows = []
    for own, embedding in enumerate(embeddings):
        cosine = [
            float(np.dot(embedding, other) / np.linalg.norm(embedding) / np.linalg.norm(other))
            for other in embeddings
        ]
        others = [sample for sample in range(len(embeddings)) if sample != own]
        others.sort(key=lambda sample: -cosine[sample])
        rows.append([own, *others][:num_neighbors])
    return np.array(rows)


def euclidean_neighbors(features: np.ndarray, num_neighbors: int) -> np.ndarray:
    rows = []
    for own, feature in enumerate(features.astype(np.float64)):
        distances = [float(np.sum((feature - other) ** 2)) for other in features]
        others = [sample for sample in range(len(features)) if sample != own]
        others.sort(key=lambda sample: distances[sample])
        rows.append([own, *others][:num_neighbors])
    return np.array(rows)

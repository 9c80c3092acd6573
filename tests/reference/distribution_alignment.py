"""ReMixMatch's distribution alignment towards equal clusters, sample by sample."""

from __future__ import annotations

import numpy as np

from tests.reference.double_softmax import softmax


def aligned_probabilities(logits: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """Normalize(q / marginal) of every row."""
    rows = []
    for row in logits:
        divided = [p / share for p, share in zip(softmax(row.tolist()), marginal, strict=True)]
        rows.append([value / sum(divided) for value in divided])
    return np.array(rows)

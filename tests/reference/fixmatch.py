"""Eq. 6 of SPICE (Eq. 3-4 of FixMatch), sample by sample."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.double_softmax import softmax


def fixmatch_loss(
    labels: np.ndarray,
    labeled_logits: np.ndarray,
    weak_logits: np.ndarray,
    strong_logits: np.ndarray,
    threshold: float,
    unlabeled_weight: float,
) -> tuple[float, float, float, float]:
    """Total, supervised, unsupervised, mask ratio."""
    supervised = 0.0
    for label, logits in zip(labels, labeled_logits, strict=True):
        supervised -= math.log(softmax(logits.tolist())[label]) / len(labels)
    unsupervised = 0.0
    confident = 0
    for weak, strong in zip(weak_logits, strong_logits, strict=True):
        probabilities = softmax(weak.tolist())
        if max(probabilities) >= threshold:
            confident += 1
            target = probabilities.index(max(probabilities))
            unsupervised -= math.log(softmax(strong.tolist())[target])
    unsupervised /= len(weak_logits)
    total = supervised + unlabeled_weight * unsupervised
    return total, supervised, unsupervised, confident / len(weak_logits)

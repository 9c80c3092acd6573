"""Sizes of clusters and what they may claim, one sample and one cluster at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def estimated_shares(log_probabilities: np.ndarray, evenness: Sequence[float]) -> list[list[float]]:
    """Share of each cluster of each head."""
    heads = []
    for head, weight in zip(log_probabilities, evenness, strict=True):
        sums = [0.0] * head.shape[1]
        for sample in head:
            for cluster, score in enumerate(sample):
                sums[cluster] += math.exp(float(score))
        total = sum(sums)
        heads.append([(1 - weight) * s / total + weight / len(sums) for s in sums])
    return heads


def claim_counts(shares: Sequence[Fraction], num_samples: int) -> list[int]:
    """Counts of one head: one sample each, then one more at a time to whoever lacks most."""
    spare = len(shares) * (num_samples // len(shares)) - len(shares)
    counts = [math.floor(share * spare) for share in shares]
    while sum(counts) < spare:
        lacking = [share * spare - count for share, count in zip(shares, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    return [1 + count for count in counts]


def sized_claims(
    scores: np.ndarray, counts: np.ndarray, *, exclusive: bool
) -> list[list[set[int]]]:
    """Samples of each cluster of each head; clusters choose in the order 0, 1, ..."""
    heads = []
    for head, wanted in zip(scores, counts, strict=True):
        used: set[int] = set()
        clusters = []
        for cluster, count in zip(head, wanted, strict=True):
            ranked = sorted(range(len(cluster)), key=lambda sample: -float(cluster[sample]))
            if exclusive:
                ranked = [sample for sample in ranked if sample not in used]
            clusters.append(set(ranked[:count]))
            used |= clusters[-1]
        heads.append(clusters)
    return heads


def own_pseudo_labels(
    embeddings: np.ndarray,
    log_probabilities: np.ndarray,
    ratio: float,
    evenness: Sequence[float],
    *,
    exclusive: bool = False,
) -> list[set[tuple[int, int]]]:
    """Pairs (sample, label) of each head whose clusters claim as many as they are large."""
    heads = []
    for head, shares in zip(
        log_probabilities, estimated_shares(log_probabilities, evenness), strict=True
    ):
        counts = claim_counts([Fraction(share) for share in shares], len(head))
        surest = [max(1, int(ratio * count)) for count in counts]
        (chosen,) = sized_claims(head.T[np.newaxis], np.array([surest]), exclusive=exclusive)
        centers = [np.mean([embeddings[i] for i in sorted(c)], axis=0) for c in chosen]
        similarity = np.array([[np.dot(center, row) for row in embeddings] for center in centers])
        (claimed,) = sized_claims(similarity[np.newaxis], np.array([counts]), exclusive=exclusive)
        heads.append({(sample, label) for label, who in enumerate(claimed) for sample in who})
    return heads

"""Words for clusters in plain loops: probabilities, masses, the two F-scores, the cover."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def cosine_probabilities(x: np.ndarray, vectors: np.ndarray, temperature: float) -> np.ndarray:
    rows = []
    for image in x.tolist():
        logits = []
        for word in vectors.tolist():
            dot = sum(a * b for a, b in zip(image, word, strict=True))
            lengths = math.sqrt(sum(a * a for a in image)) * math.sqrt(sum(b * b for b in word))
            logits.append(dot / lengths / temperature)
        rows.append(softmax(logits))
    return np.array(rows)


def linear_probabilities(x: np.ndarray, vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    rows = []
    for image in x.tolist():
        logits = [
            sum(a * b for a, b in zip(image, word, strict=True)) + offset
            for word, offset in zip(vectors.tolist(), bias.tolist(), strict=True)
        ]
        rows.append(softmax(logits))
    return np.array(rows)


def below(parents: Sequence[Sequence[int]], concept: int) -> set[int]:
    """The concept and all that lead up to it."""
    found = {concept}
    while True:
        more = {one for one, up in enumerate(parents) if found & set(up)} - found
        if not more:
            return found
        found |= more


def masses(row: Sequence[float], parents: Sequence[Sequence[int]], words: Sequence[int]) -> list:
    """The sum of the probabilities of the words at or below each concept."""
    sums = []
    for concept in range(len(parents)):
        inside = below(parents, concept)
        sums.append(sum(p for p, own in zip(row, words, strict=True) if own in inside))
    return sums


def surest_half(clusters: Sequence[int], cluster: int, confidence: Sequence[float]) -> list[int]:
    rows = [i for i, one in enumerate(clusters) if one == cluster]
    rows.sort(key=lambda i: (-confidence[i], i))
    return rows[: math.ceil(len(rows) / 2)]


def opinions(
    p: np.ndarray, clusters: Sequence[int], num_clusters: int, confidence: Sequence[float]
) -> list[list[float]]:
    """The squared ratio of two geometric means, the surest half's and all images', scaled to 1."""
    num_words = p.shape[1]
    found = []
    for cluster in range(num_clusters):
        sure = surest_half(clusters, cluster, confidence)
        ratios = []
        for word in range(num_words):
            logs = [math.log(max(float(row[word]), 1e-12)) for row in p]
            overall = sum(logs) / len(logs)
            ours = sum(logs[i] for i in sure) / len(sure) if sure else overall
            ratios.append(math.exp(ours - overall) ** 2)
        found.append([ratio / sum(ratios) for ratio in ratios])
    return found


def mean_probabilities(p: np.ndarray, clusters: Sequence[int], num_clusters: int) -> list:
    found = []
    for cluster in range(num_clusters):
        rows = [row for row, one in zip(p.tolist(), clusters, strict=True) if one == cluster]
        columns = zip(*rows, strict=True) if rows else ([0.0],) * p.shape[1]
        found.append([sum(column) / max(1, len(rows)) for column in columns])
    return found


def f_scores(recall: Sequence[Sequence[float]], sizes: Sequence[int]) -> list[list[float]]:
    """2PR / (P + R): R of a cluster, P its share of what all clusters have."""
    scores = []
    for cluster, row in enumerate(recall):
        line = []
        for concept, r in enumerate(row):
            total = sum(size * other[concept] for size, other in zip(sizes, recall, strict=True))
            precision = sizes[cluster] * r / total if total > 0 else 0.0
            line.append(2 * precision * r / (precision + r) if precision + r > 0 else 0.0)
        scores.append(line)
    return scores


def cover(p: np.ndarray, num_clusters: int, num_candidates: int) -> tuple[list[int], list[int]]:
    """Greedy facility location on the roots of the probabilities, word by word."""
    num_images, num_words = p.shape
    means = [sum(p[:, word].tolist()) for word in range(num_words)]
    candidates = sorted(range(num_words), key=lambda word: (-means[word], word))[:num_candidates]
    chosen: list[int] = []
    for _ in range(num_clusters):
        totals = {}
        for word in candidates:
            if word not in chosen:
                totals[word] = sum(
                    max(math.sqrt(float(p[i, w])) for w in [*chosen, word])
                    for i in range(num_images)
                )
        chosen.append(max(totals, key=lambda word: totals[word]))
    clusters = [
        max(range(num_clusters), key=lambda k: float(p[i, chosen[k]])) for i in range(num_images)
    ]
    return chosen, clusters

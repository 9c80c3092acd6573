"""SIC in plain loops and float64: two filters, two kinds of centres, labels, cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.reference.neighbor_consistency import softmax


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(float(x) ** 2 for x in a)) * math.sqrt(sum(float(y) ** 2 for y in b))
    return dot / lengths


def mean_of(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(float(x) for x in column) / len(rows) for column in zip(*rows, strict=True)]


def unit(row: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def most(scores: Sequence[float], count: int) -> list[int]:
    """Places of the largest scores, best first, of equals the first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count]


def relevant_words(centers: np.ndarray, words: np.ndarray, count: int) -> list[int]:
    found: set[int] = set()
    for center in centers:
        found |= set(most([cosine(center, word) for word in words], count))
    return sorted(found)


def unique_words(words: np.ndarray, uniqueness: float) -> list[int]:
    mean = mean_of(words.tolist())
    return [place for place, word in enumerate(words) if cosine(word, mean) < 1 - uniqueness]


def adjusted_image_centers(features: np.ndarray, logits: np.ndarray, ratio: float) -> np.ndarray:
    """Of one head."""
    num_samples, num_clusters = logits.shape
    count = max(1, int((num_samples // num_clusters) * ratio))
    centers = []
    for cluster in range(num_clusters):
        surest = most([float(logit) for logit in logits[:, cluster]], count)
        centers.append(unit(mean_of([features[place].tolist() for place in surest])))
    return np.array(centers)


def nearest_words(centers: np.ndarray, words: np.ndarray, count: int) -> np.ndarray:
    return np.array([most([cosine(center, word) for word in words], count) for center in centers])


def semantic_centers(words: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.array([unit(mean_of([words[place].tolist() for place in row])) for row in chosen])


def semantic_labels(
    features: np.ndarray, centers: np.ndarray, temperature: float | None
) -> np.ndarray:
    rows = []
    for image in features:
        scores = [cosine(image, center) for center in centers]
        if temperature is None:
            best = most(scores, 1)[0]
            rows.append([float(place == best) for place in range(len(centers))])
        else:
            rows.append(softmax(np.array(scores) / temperature))
    return np.array(rows)


def image_semantic_consistency(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        p = softmax(row)
        losses.append(-sum(float(t) * math.log(q) for t, q in zip(label, p, strict=True) if t))
    return np.array(losses)

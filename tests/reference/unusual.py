"""Near-duplicates and outliers by loops over pairs, one item at a time."""

from __future__ import annotations

import statistics

import numpy as np


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True)) / 2


def usual_distance(vectors: np.ndarray, neighbors: np.ndarray) -> float:
    tenth = [
        distance(vectors[row], vectors[others[min(10, len(others) - 1)]])
        for row, others in enumerate(neighbors)
    ]
    return statistics.median(tenth)


def thumbnail(image: np.ndarray, side: int) -> list[float]:
    """Mean brightness of each square of pixels; the side divides that of the image."""
    size = max(1, len(image) // side)
    values = []
    for top in range(0, len(image), size):
        for left in range(0, len(image), size):
            pixels = image[top : top + size, left : left + size].reshape(-1, 3)
            red, green, blue = np.floor(pixels.mean(axis=0) + 0.5).tolist()
            values.append(0.299 * red + 0.587 * green + 0.114 * blue)
    return values


def pattern(image: np.ndarray) -> np.ndarray:
    values = thumbnail(image, 16)
    mean = statistics.fmean(values)
    centered = [value - mean for value in values]
    length = (sum(value**2 for value in centered) + 4 * len(values)) ** 0.5
    return np.array([value / length for value in centered])


def near_duplicates(
    embeddings: np.ndarray, neighbors: np.ndarray, images: np.ndarray | None
) -> list[int]:
    usual = usual_distance(embeddings, neighbors)
    patterns = None if images is None else np.stack([pattern(image) for image in images])
    limit = 0.1 * usual if patterns is None else usual
    pixel_limit = 0.0
    if patterns is not None:
        pixel_limit = min(0.05, 0.1 * usual_distance(patterns, neighbors))
    groups = [{row} for row in range(len(embeddings))]
    for row, others in enumerate(neighbors):
        for other in others[1:]:
            near = distance(embeddings[row], embeddings[other]) <= limit
            if near and patterns is not None:
                near = distance(patterns[row], patterns[other]) <= pixel_limit
            one = next(group for group in groups if row in group)
            two = next(group for group in groups if other in group)
            if near and one is not two:
                groups.remove(two)
                one |= two
    several = sorted((group for group in groups if len(group) > 1), key=min)
    numbers = {item: number for number, group in enumerate(several) for item in group}
    return [numbers.get(row, -1) for row in range(len(embeddings))]


def outlier_scores(embeddings: np.ndarray, neighbors: np.ndarray) -> list[float]:
    found = [
        distance(embeddings[row], embeddings[others[min(10, len(others) - 1)]])
        for row, others in enumerate(neighbors)
    ]
    logarithms = [float(np.log(max(value, 1e-6))) for value in found]
    rest = [log for log, value in zip(logarithms, found, strict=True) if value > 1e-6]
    if not rest:
        return [0.0] * len(found)
    middle = statistics.median(rest)
    deviation = statistics.median([abs(value - middle) for value in rest])
    return [(value - middle) / max(1.4826 * deviation, 0.05) for value in logarithms]

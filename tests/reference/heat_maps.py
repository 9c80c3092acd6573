"""Slow twins of the heat maps: loops over images, positions and pixels."""

from __future__ import annotations

import math

import numpy as np


def cosine_heat_maps(feature_maps: np.ndarray, centers: np.ndarray) -> np.ndarray:
    count, height, width, _ = feature_maps.shape
    result = np.zeros((count, height, width))
    for image in range(count):
        for y in range(height):
            for x in range(width):
                a = [float(value) for value in feature_maps[image, y, x]]
                b = [float(value) for value in centers[image]]
                lengths = math.hypot(*a) * math.hypot(*b)
                if lengths > 0:
                    result[image, y, x] = sum(p * q for p, q in zip(a, b, strict=True)) / lengths
    return result


def upsampled(heat_map: np.ndarray, side: int) -> np.ndarray:
    """One map, one pixel after the other: the value between the four nearest cell centres."""
    height, width = heat_map.shape
    result = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            y = min(max((row + 0.5) * height / side - 0.5, 0.0), height - 1.0)
            x = min(max((column + 0.5) * width / side - 0.5, 0.0), width - 1.0)
            top, left = math.floor(y), math.floor(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = heat_map[top, left] * (1 - (x - left)) + heat_map[top, right] * (x - left)
            lower = heat_map[bottom, left] * (1 - (x - left)) + heat_map[bottom, right] * (x - left)
            result[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return result

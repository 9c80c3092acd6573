"""The residual encoders in inference, layer by layer in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Gives the weights of the layer of a name.
Weights = Callable[[str], list[np.ndarray]]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Convolution of [B, H, W, C] with [k, k, C, D], zeros of k // 2 on every side."""
    side, border = kernel.shape[0], kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    rows = range(0, padded.shape[1] - side + 1, stride)
    columns = range(0, padded.shape[2] - side + 1, stride)
    out = np.zeros((len(x), len(rows), len(columns), kernel.shape[-1]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = padded[:, row : row + side, column : column + side]
            out[:, i, j] = np.einsum("bhwc,hwcd->bd", window, kernel)
    return out


def max_pool(x: np.ndarray, side: int) -> np.ndarray:
    """Largest value of each window, stride 2, one row and column of -inf on every side."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows = range(0, padded.shape[1] - side + 1, 2)
    columns = range(0, padded.shape[2] - side + 1, 2)
    out = np.empty((len(x), len(rows), len(columns), x.shape[-1]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[:, i, j] = padded[:, row : row + side, column : column + side].max(axis=(1, 2))
    return out


def normalize(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Batch normalisation by the moving statistics, epsilon 1e-5."""
    gamma, beta, mean, variance = weights[:4]
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def leaky(x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    """Rectifier; leaky with a slope."""
    return np.where(x > 0.0, x, slope * x)


def pixels(images: np.ndarray) -> np.ndarray:
    """ImageNet's pixel normalisation."""
    return (images / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)


def residual_features(
    images: np.ndarray, weights: Weights, repeats: Sequence[int], stem_stride: int, pool: int
) -> np.ndarray:
    """Features of a network of basic blocks; a pool of 0 is none."""

    def normalized(x: np.ndarray, name: str, stride: int) -> np.ndarray:
        return normalize(convolve(x, weights(f"{name}_conv")[0], stride), weights(f"{name}_bn"))

    x = leaky(normalized(pixels(images), "stem", stem_stride))
    if pool:
        x = max_pool(x, pool)
    for stage, number in enumerate(repeats, start=1):
        for block in range(1, number + 1):
            name, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = normalized(leaky(normalized(x, f"{name}_1", stride)), f"{name}_2", 1)
            x = leaky(y + (normalized(x, f"{name}_shortcut", 2) if stride == 2 else x))
    return x.mean(axis=(1, 2))


def wide_features(
    images: np.ndarray, weights: Weights, num_groups: int, first_stride: int
) -> np.ndarray:
    """Features of a wide residual network: normalise and activate before each convolution."""

    def activated(x: np.ndarray, name: str) -> np.ndarray:
        return leaky(normalize(x, weights(f"{name}_bn")), 0.1)

    x = convolve(pixels(images), weights("stem_conv")[0], 1)
    for group in range(1, num_groups + 1):
        for block in range(1, 5):
            name, stride = f"group{group}_block{block}", 1
            if block == 1:
                stride = first_stride if group == 1 else 2
            a = activated(x, f"{name}_1")
            y = activated(convolve(a, weights(f"{name}_1_conv")[0], stride), f"{name}_2")
            y = convolve(y, weights(f"{name}_2_conv")[0], 1)
            x = y + (x if block > 1 else convolve(a, weights(f"{name}_shortcut_conv")[0], stride))
    return activated(x, "tail").mean(axis=(1, 2))

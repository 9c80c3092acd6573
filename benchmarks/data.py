"""What every side of a comparison is given: drawn numbers, the same in each process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def images(count: int, side: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Pictures with smooth colours and some noise, uint8 [count, side, side, 3]."""
    draws = np.random.default_rng(seed)
    coarse = draws.uniform(0.0, 255.0, (count, 4, 4, 3)).astype(np.float32)
    repeats = -(-side // 4)
    smooth = coarse.repeat(repeats, axis=1).repeat(repeats, axis=2)[:, :side, :side]
    noise = draws.normal(0.0, 16.0, smooth.shape).astype(np.float32)
    return np.clip(smooth + noise, 0.0, 255.0).astype(np.uint8)


def embeddings(count: int, dim: int, clusters: int = 10, seed: int = 0) -> npt.NDArray[np.float32]:
    """Unit rows around some centres, float32 [count, dim]."""
    draws = np.random.default_rng(seed)
    centers = draws.standard_normal((clusters, dim), dtype=np.float32)
    rows = draws.standard_normal((count, dim), dtype=np.float32)
    rows += centers[draws.integers(0, clusters, count)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows

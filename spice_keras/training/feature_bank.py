"""What self-labelling reads: features, their neighbours, and cached views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spice_keras.data.feature_batches import FeatureViews


@dataclass(frozen=True)
class FeatureBank:
    """The feature bank.

    Attributes:
        features: float32 [N, D], as the encoder gives them: what the heads read.
        normalized: The same on the unit sphere: what similarity reads.
        neighbors: int32 [N, n_s], each row led by the item itself.
        head_neighbors: int32 [N, n], the nearest neighbours without the item itself, which heads
            are trained with.
        weak: float16 [W, N, D], features of weakly augmented copies, memory-mapped; W = 0 where
            none are cached.
        strong: float16 [V, N, D], of strongly augmented copies, likewise.
    """

    features: np.ndarray
    normalized: np.ndarray
    neighbors: np.ndarray
    head_neighbors: np.ndarray
    weak: np.ndarray
    strong: np.ndarray

    def views(self, *kinds: str) -> FeatureViews:
        """Return the features as they are and the cached views of these kinds, as one."""
        return FeatureViews([self.features[np.newaxis], *(getattr(self, kind) for kind in kinds)])

"""What a clustering stage says of every image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Assignment:
    """Soft clusters of every image, and what is read off them.

    Attributes:
        probabilities: float32 [N, K].
    """

    probabilities: np.ndarray

    @property
    def clusters(self) -> np.ndarray:
        """The most probable cluster of each image, int32 [N]."""
        return self.probabilities.argmax(axis=1).astype(np.int32)

    @property
    def confidence(self) -> np.ndarray:
        """Its probability, float32 [N]."""
        return self.probabilities.max(axis=1)

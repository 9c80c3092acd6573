"""What self-labelling reads: features, their neighbours, and cached views."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.clustering.neighbors import NeighborSearch, nearest_neighbors
from spice_keras.data.feature_batches import FeatureViews
from spice_keras.scratch import give_back

_UNIT = FeatureSpace("unit")


@dataclass(frozen=True)
class FeatureBank:
    """The feature bank.

    Attributes:
        features: float32 [N, D], as the encoder gives them: what the heads read.
        normalized: The same as unit rows of `space`: what similarity reads.
        neighbors: int32 [N, n_s], each row led by the item itself.
        head_neighbors: int32 [N, n], the nearest neighbours without the item itself, which heads
            are trained with.
        weak: float16 [W, N, D], features of weakly augmented copies, memory-mapped; W = 0 where
            none are cached.
        strong: float16 [V, N, D], of strongly augmented copies, likewise.
        search: How neighbours were found, for those of other embeddings of the same items.
        space: What the heads do to `features` first.
    """

    features: np.ndarray
    normalized: np.ndarray
    neighbors: np.ndarray
    head_neighbors: np.ndarray
    weak: np.ndarray
    strong: np.ndarray
    search: NeighborSearch = nearest_neighbors
    space: FeatureSpace = field(default_factory=FeatureSpace)

    def alone(self, rows: np.ndarray) -> FeatureBank:
        """Return some items by themselves, without neighbours and without cached views.

        Args:
            rows: Which, integers [R].
        """
        none = np.empty((len(rows), 0), np.int32)
        features = normalized = self.features[rows]
        give_back(self.features)
        if self.normalized is not self.features:
            normalized = self.normalized[rows]
            give_back(self.normalized)
        return replace(
            self,
            features=features,
            normalized=normalized,
            neighbors=none,
            head_neighbors=none,
            weak=self.weak[:0, :0],
            strong=self.strong[:0, :0],
        )

    def views(self, *kinds: str) -> FeatureViews:
        """Return the features as they are and the cached views of these kinds, as one."""
        return FeatureViews([self.features[np.newaxis], *(getattr(self, kind) for kind in kinds)])


def unit_feature_bank(
    features: np.ndarray,
    *,
    for_heads: int,
    for_reliability: int,
    search: NeighborSearch = nearest_neighbors,
    space: FeatureSpace | None = None,
) -> FeatureBank:
    """Make the bank of heads that read unit rows: these serve as the features too.

    Args:
        features: Real numbers of any type and size, N >= 1. Shape: (num_samples, dim).
        for_heads: Neighbours to train with, the item itself not among them; N - 1 at most.
        for_reliability: n_s, the item itself among them; N at most.
        search: How to find them.
        space: The space whose unit rows are taken; None for that of cosines.

    Returns:
        The bank, without cached views; one float32 array [N, D] is its features and the unit rows.
    """
    unit = (_UNIT if space is None else space).unit_rows(features)
    columns = min(len(unit), max(1 + for_heads, for_reliability))
    neighbors = search(unit, columns)
    no_views = np.empty((0, *unit.shape), np.float16)
    return FeatureBank(
        features=unit,
        normalized=unit,
        neighbors=neighbors[:, :for_reliability],
        head_neighbors=neighbors[:, 1 : 1 + for_heads],
        weak=no_views,
        strong=no_views,
        search=search,
        space=_UNIT,
    )

"""The space in which features are compared: unit rows, centred ones, roots first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from spice_keras.options import InputScale
from spice_keras.scratch import give_back, row_blocks

_ROWS = 4096
_GIVEN_BACK = 16 * _ROWS  # rows after which the pages of a mapped file are given back
SHORTEST = 1e-4
"""Rows that differ from the mean by less than this are the mean but for rounding."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """What is done to features before they are compared or classified.

    Attributes:
        scale: ``"none"``: nothing for the heads, unit length for similarity. ``"unit"``: unit
            length. ``"center"``: unit length, minus the mean over all items, unit length again.
            ``"root-center"``: the same of the signed square roots.
        center: That mean, float32 [D]; None for the first two.

    Raises:
        ValueError: If the scale is unknown, or a centre is missing or of no use.
    """

    scale: InputScale = "none"
    center: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.scale not in get_args(InputScale):
            raise ValueError(
                f"`scale` must be one of {get_args(InputScale)}. Received: scale={self.scale!r}"
            )
        if self.is_centered != (self.center is not None):
            raise ValueError(
                'The scales "center" and "root-center" need the mean of the items as `center`, '
                f"the others take none. Received: scale={self.scale!r}, center={self.center}"
            )

    @property
    def is_centered(self) -> bool:
        """Whether a mean is taken away."""
        return self.scale in ("center", "root-center")

    def blocks(
        self, features: np.ndarray, block_size: int = _ROWS
    ) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
        """Rows of this space at unit length, a block at a time, so that copies stay small.

        Args:
            features: Real numbers of any type and size. Shape: (num_samples, dim).
            block_size: Rows of a block, at least 1.

        Yields:
            Which rows, and those rows. A row of zeros stays zero unless there is a centre, and so
            does a row that is the centre. Shape: (rows, dim).
        """
        for rows, block in _unit_blocks(features, self.scale == "root-center", block_size):
            if self.center is not None:
                block = block - self.center
                block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), SHORTEST)
            yield rows, block

    def unit_rows(
        self, features: np.ndarray, out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Rows of this space at unit length, where similarity is the dot product.

        Args:
            features: Real numbers of any type and size. Shape: (num_samples, dim).
            out: Where the rows go, perhaps memory-mapped; None for a new array.

        Returns:
            Shape: (num_samples, dim).
        """
        unit = np.empty(features.shape, np.float32) if out is None else out
        for rows, block in self.blocks(features):
            unit[rows] = block
            if rows.stop % _GIVEN_BACK == 0:
                give_back(unit)
        give_back(unit)
        return unit

    def as_config(self) -> dict[str, Any]:
        """Return the space as plain values, for a layer's configuration."""
        center = None if self.center is None else [float(value) for value in self.center]
        return {"scale": self.scale, "center": center}


SpaceLike = InputScale | FeatureSpace | Mapping[str, Any]
"""A space, the name of one without a centre, or what `FeatureSpace.as_config` gave."""


def feature_space(scale: SpaceLike) -> FeatureSpace:
    """Make a feature space of its name, or of its plain values.

    Args:
        scale: Any of `SpaceLike`.

    Returns:
        The space.

    Raises:
        ValueError: If there is no such space, or it needs a centre.
    """
    if isinstance(scale, FeatureSpace):
        return scale
    if isinstance(scale, Mapping):
        center = scale["center"]
        return FeatureSpace(
            scale["scale"], None if center is None else np.asarray(center, np.float32)
        )
    return FeatureSpace(scale)


def fitted_space(features: np.ndarray, scale: InputScale | None = None) -> FeatureSpace:
    """Choose the space for these features, and find its centre.

    Pooled activations that are never negative are far from the origin, all in one direction, and a
    few large values rule their cosines: roots and a centre mend both.

    Args:
        features: Real numbers of any type and size. Shape: (num_samples, dim).
        scale: What to do; None for roots and a centre if no value is negative, and for unit
            length otherwise.

    Returns:
        The space.
    """
    if scale is None:
        scale = "root-center" if len(features) and features.min() >= 0 else "unit"
    if scale in ("none", "unit"):
        return FeatureSpace(scale)
    total = np.zeros(features.shape[1])
    for _, block in _unit_blocks(features, scale == "root-center", _ROWS):
        total += block.sum(axis=0)
    return FeatureSpace(scale, (total / max(1, len(features))).astype(np.float32))


def _unit_blocks(
    features: np.ndarray, rooted: bool, block_size: int
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    smallest = np.finfo(np.float64).tiny
    for rows in row_blocks(features, block_size):
        block = features[rows].astype(np.float64)
        # The squares of very large or very small numbers are out of range.
        block /= np.maximum(np.abs(block).max(axis=1, keepdims=True), smallest)
        if rooted:
            block = np.sign(block) * np.sqrt(np.abs(block))
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), smallest)
        yield rows, block

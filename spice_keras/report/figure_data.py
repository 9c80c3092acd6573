"""What some figures are drawn from, beyond the run itself: frozen records of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeadCurves:
    """The heads of one phase of self-labelling; E epochs, H heads.

    Attributes:
        losses: [E, H] loss of each head over the whole set, after each epoch; NaN where it was
            no number.
        epochs: [E] which epochs these are, from 0.
        chosen: epoch and head that were chosen by the loss; None where none was.
        first_judged: epoch from which heads were judged.
        accuracy: [A, H] accuracy of each head, measured by the evaluation alone; None without
            labels.
        accuracy_epochs: [A] the epochs that was measured at.

    SPICE (arXiv 2103.09382) Fig. 4.
    """

    losses: Floats
    epochs: npt.NDArray[np.integer[Any]]
    chosen: tuple[int, int] | None
    first_judged: int = 0
    accuracy: Floats | None = None
    accuracy_epochs: npt.NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        """Refuses arrays of different epochs or heads.

        Raises:
            ValueError: the shapes do not belong together, or there is no epoch.
        """
        measured = self.accuracy, self.accuracy_epochs
        if self.losses.ndim != 2 or len(self.epochs) != len(self.losses) or not self.losses.size:
            raise ValueError(
                "`losses` must be [E, H] with E = len(epochs) > 0. Received: "
                f"losses.shape={self.losses.shape}, len(epochs)={len(self.epochs)}"
            )
        if (measured[0] is None) != (measured[1] is None):
            raise ValueError(
                "`accuracy` and `accuracy_epochs` are given together or not at all. Received: "
                f"accuracy={measured[0]!r}, accuracy_epochs={measured[1]!r}"
            )
        if self.accuracy is not None and self.accuracy_epochs is not None:
            expected = (len(self.accuracy_epochs), self.losses.shape[1])
            if self.accuracy.shape != expected or not len(self.accuracy_epochs):
                raise ValueError(
                    "`accuracy` must be [A, H] with A = len(accuracy_epochs) > 0. Received: "
                    f"accuracy.shape={self.accuracy.shape}, expected {expected}"
                )

    @property
    def measured_losses(self) -> Floats:
        """[A, H] the losses at the epochs whose accuracy was measured."""
        wanted = self.epochs if self.accuracy_epochs is None else self.accuracy_epochs
        return self.losses[np.searchsorted(self.epochs, wanted)]

    @property
    def best_measured(self) -> tuple[int, int] | None:
        """Row of `accuracy` and head of the highest accuracy, which only labels can tell."""
        if self.accuracy is None:
            return None
        row, head = np.unravel_index(int(np.argmax(self.accuracy)), self.accuracy.shape)
        return int(row), int(head)

    @property
    def chosen_row(self) -> int | None:
        """Row of `accuracy` of the chosen epoch, or of the last one measured before it."""
        if self.accuracy_epochs is None or self.chosen is None:
            return None
        row = int(np.searchsorted(self.accuracy_epochs, self.chosen[0], side="right")) - 1
        return max(row, 0)

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's rank correlation of loss and accuracy over the heads at the chosen epoch."""
        row = self.chosen_row
        if row is None or self.accuracy is None:
            return None
        losses, accuracy = self.measured_losses[row], self.accuracy[row]
        known = np.isfinite(losses)
        ranks = rankdata(losses[known]), rankdata(accuracy[known])
        if known.sum() < 3 or min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
            return None
        return float(np.corrcoef(*ranks)[0, 1])


@dataclass(frozen=True, eq=False)
class PrototypeMaps:
    """The first prototypes of each cluster with the heat map of each.

    Attributes:
        indices: [n] which image.
        clusters: [n] whose prototype it is.
        heat_maps: [n, h, w] cosine of the cluster's centre and every position of the encoder's
            last map.

    SPICE (arXiv 2103.09382) Fig. 3.
    """

    indices: npt.NDArray[np.integer[Any]]
    clusters: npt.NDArray[np.integer[Any]]
    heat_maps: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuses arrays of different images.

        Raises:
            ValueError: the arrays do not have the same length, or the maps are no maps.
        """
        lengths = (len(self.indices), len(self.clusters), len(self.heat_maps))
        if len(set(lengths)) > 1 or self.heat_maps.ndim != 3:
            raise ValueError(
                "`indices`, `clusters` and `heat_maps` [n, h, w] must describe the same images. "
                f"Received: lengths {lengths}, heat_maps.ndim={self.heat_maps.ndim}"
            )

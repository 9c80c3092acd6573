"""Nearest neighbours found nearly all, in much less time than all, and how nearly all."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.cells import cut_into_cells
from spice_keras.clustering.neighbors import (
    NeighborSearch,
    check_embeddings,
    exact_seconds,
    nearest_neighbors,
    neighbors_of,
)
from spice_keras.options import Search

Tell = Callable[[str], object]
"""Takes a sentence for the user."""

LONGEST_EXACT_SECONDS = 120.0
"""The search `auto` is exact if it takes no longer than this on two cores, by `exact_seconds`."""
_MEASURED = 2000  # rows whose true neighbours are searched, to measure recall on
_WORTHWHILE = 0.5  # share of the rows from which on the exact search is as fast


def _silent(_: str) -> None:
    """Say nothing."""


def neighbor_search(
    kind: Search, *, recall: float = 0.95, seed: int = 0, tell: Tell = _silent
) -> NeighborSearch:
    """Choose how nearest neighbours are found.

    Args:
        kind: "exact", "approximate", or "auto": exact up to about two minutes of two cores, then
            approximate.
        recall: Share of the true neighbours that must be found if the search is not exact.
        seed: Seed of what is drawn.
        tell: Takes what the user should know: the choice of "auto", and the measured recall.

    Returns:
        Embeddings and n_s to neighbours.
    """
    if kind == "exact":
        return nearest_neighbors
    found = partial(approximate_neighbors, recall=recall, seed=seed, tell=tell)
    return partial(_exact_if_short, found, tell) if kind == "auto" else found


def _exact_if_short(
    otherwise: NeighborSearch, tell: Tell, embeddings: np.ndarray, num_neighbors: int
) -> npt.NDArray[np.int32]:
    seconds = exact_seconds(*embeddings.shape)
    if seconds <= LONGEST_EXACT_SECONDS:
        return nearest_neighbors(embeddings, num_neighbors)
    tell(
        f"neighbours: an exact search would take about {seconds / 60:.0f} min on two cores, so "
        "the search is approximate (embed.neighbor_search=exact for all of them)."
    )
    return otherwise(embeddings, num_neighbors)


def approximate_neighbors(
    embeddings: np.ndarray,
    num_neighbors: int,
    *,
    recall: float = 0.95,
    seed: int = 0,
    tell: Tell = _silent,
) -> npt.NDArray[np.int32]:
    """Most of the nearest neighbours of every sample by cosine, itself first.

    k-means cuts the sphere into N / 250 cells, and the samples of a cell are compared with those
    of the cells around it. The true neighbours of 2,000 samples say how many cells that must be.
    If it is more than half of them, the search is exact: it takes no longer.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        recall: Share of the true neighbours to find, above 0 and at most 1.
        seed: Seed of k-means and of the samples that recall is measured on.
        tell: Takes a sentence with the measured recall.

    Returns:
        Sample indices, most similar first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.

    SPICE (arXiv 2103.09382) Sec. 3.3, the neighbours that Eq. 5 counts, approximately.
    """
    samples, true = _known_neighbors(embeddings, num_neighbors, recall, seed)
    cells = cut_into_cells(embeddings, seed=seed)
    probes = cells.probes_for(recall, samples, true)
    share = probes / len(cells)
    if share > _WORTHWHILE:
        tell(
            f"neighbours: to find {recall:.0%} of them, each item would have to be compared with "
            f"{share:.0%} of the others, so the search is exact."
        )
        return nearest_neighbors(embeddings, num_neighbors)
    found = cells.neighbors(num_neighbors, probes)
    tell(
        f"neighbours: {found_share(found[samples], true):.1%} of the true ones found, measured on "
        f"{len(samples):,} items; each was compared with {share:.1%} of the others."
    )
    return found


def _known_neighbors(
    embeddings: np.ndarray, num_neighbors: int, recall: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw some samples, and find their true neighbours."""
    if not (0.0 < recall <= 1.0 and math.isfinite(recall)):
        raise ValueError(f"`recall` must lie above 0 and be at most 1. Received: {recall=}")
    check_embeddings(embeddings, num_neighbors)
    count = min(_MEASURED, len(embeddings))
    drawn = np.random.default_rng(seed + 1).choice(len(embeddings), count, replace=False)
    samples = np.sort(drawn)
    return samples, neighbors_of(embeddings, samples, num_neighbors)


def found_share(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true neighbours that a search found.

    Args:
        found: What it found. Shape: (num_samples, num_neighbors).
        true: The true ones. Shape: (num_samples, num_neighbors).

    Returns:
        In 0..1.
    """
    width = int(max(found.max(), true.max())) + 1
    base = np.arange(len(true), dtype=np.int64)[:, np.newaxis] * width
    return float(np.isin(base + true, base + found).mean())

"""Nearest neighbours by FAISS's inverted lists: nearly the exact ones, in much less time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.neighbors import check_embeddings, led_by_themselves
from spice_keras.extras import require_faiss

_ROWS = 16_384  # searched at a time: FAISS returns 12 bytes for each neighbour


_TRAINING_ROWS = 64  # of each list


_FEWEST_IN_A_LIST = 39  # with fewer FAISS warns of poor lists


def approximate_neighbors(
    embeddings: np.ndarray, num_neighbors: int, *, num_probes: int = 32, seed: int = 0
) -> npt.NDArray[np.int32]:
    """Most of the nearest neighbours of every sample by cosine, itself first.

    k-means cuts the sphere into about 4 * sqrt(N) cells, each with the list of its samples; a
    sample is compared with those of the `num_probes` nearest cells. The time grows as N^1.5 in
    place of N^2. With as many probes as cells the search is exact.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        num_probes: Cells searched for each sample, at least 1: more find more. A sample whose
            cells hold too few others is searched again in twice as many.
        seed: Seed of k-means.

    Returns:
        Sample indices, most similar first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.
        UserError: If FAISS is not installed.

    SPICE (arXiv 2103.09382) Sec. 3.3, the neighbours that Eq. 5 counts, approximately.
    """
    require_faiss()
    check_embeddings(embeddings, num_neighbors)
    if num_probes < 1:
        raise ValueError(f"`num_probes` must be at least 1. Received: {num_probes=}")
    rows = np.ascontiguousarray(embeddings, np.float32)
    index = _inverted_lists(rows, seed)
    neighbors = np.empty((len(rows), num_neighbors), np.int32)
    for start in range(0, len(rows), _ROWS):
        block = slice(start, min(start + _ROWS, len(rows)))
        neighbors[block] = led_by_themselves(
            _search(index, rows[block], num_neighbors, num_probes), block
        )
    return neighbors


def _inverted_lists(rows: np.ndarray, seed: int) -> Any:
    import faiss

    count, dim = rows.shape
    num_lists = max(1, min(int(4 * np.sqrt(count)), count // _FEWEST_IN_A_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    chosen = np.random.default_rng(seed).permutation(count)[: _TRAINING_ROWS * num_lists]
    index.train(rows[chosen])
    index.add(rows)
    return index


def _search(index: Any, queries: np.ndarray, count: int, num_probes: int) -> np.ndarray:
    """Rows of [Q, count], in twice as many lists if those probed held too few."""
    index.nprobe = min(num_probes, index.nlist)
    _, found = index.search(queries, count)
    short = np.flatnonzero(found[:, -1] < 0)
    if len(short):
        found[short] = _search(index, queries[short], count, 2 * num_probes)
    return found

"""Near-duplicates: items that are the same picture, or almost, found on the neighbour graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spice_keras.clustering.reduction import grey_thumbnails
from spice_keras.scratch import give_back

_USUAL_NEIGHBOR = 10  # the neighbour whose distance says how far apart items usually are
_SHARE_OF_USUAL = 0.1
_LARGEST_PIXEL_DISTANCE = 0.05
_CONTRAST_FLOOR = 2.0  # grey levels: noise in a flat image is no pattern
_BLOCK = 4096


def near_duplicates(
    embeddings: np.ndarray, neighbors: np.ndarray, images: np.ndarray | None = None
) -> npt.NDArray[np.int32]:
    """Groups of items that are almost the same.

    Two neighbours are linked if they are far more alike than neighbours usually are; the usual
    distance is the median over all items of that to the tenth neighbour. Without images, their
    cosine distance must be at most a tenth of the usual one. With images, which decide better,
    it must be at most the usual one, and the distance of their grey thumbnails (1 - correlation)
    at most a tenth of the usual one and at most 0.05: a copy that was compressed, resized or
    made brighter is found, a mirrored or a cropped one is not. Groups are the connected
    components of the links.

    Args:
        embeddings: L2-normalised. Shape: (num_samples, dim).
        neighbors: Nearest neighbours by cosine, most similar first, each row led by the item
            itself. Shape: (num_samples, num_neighbors).
        images: uint8, perhaps memory-mapped. Shape: (num_samples, S, S, 3).

    Returns:
        Group of each item from 0, in the order of their first items; -1 for an item without a
        near-duplicate. Shape: (num_samples,).

    Raises:
        ValueError: If the arrays describe different numbers of items.

    A tenth of the usual distance is far below chance: if embeddings fill ten dimensions, about
    one item in 10^5 has an unrelated neighbour so near.
    """
    count = len(embeddings)
    if len(neighbors) != count or (images is not None and len(images) != count):
        raise ValueError(
            "`embeddings`, `neighbors` and `images` must describe the same items. Received: "
            f"{count}, {len(neighbors)} and {None if images is None else len(images)}"
        )
    if count < 2 or neighbors.shape[1] < 2:
        return np.full(count, -1, np.int32)
    usual = usual_distance(embeddings, neighbors)
    share = _SHARE_OF_USUAL if images is None else 1.0
    first, second = _near_pairs(embeddings, neighbors, share * usual)
    if images is not None:
        patterns = _patterns(images)
        limit = _SHARE_OF_USUAL * usual_distance(patterns, neighbors)
        near = pair_distances(patterns, first, second) <= min(limit, _LARGEST_PIXEL_DISTANCE)
        first, second = first[near], second[near]
    return _groups(count, first, second)


def usual_distance(vectors: np.ndarray, neighbors: np.ndarray) -> float:
    """Median over all items of the distance to the tenth neighbour, or the last if fewer.

    Args:
        vectors: One an item, of unit length or shorter. Shape: (num_samples, dim).
        neighbors: Each row led by the item itself. Shape: (num_samples, num_neighbors).

    Returns:
        Half the squared Euclidean distance: 1 - cosine if the length is 1.
    """
    column = min(_USUAL_NEIGHBOR, neighbors.shape[1] - 1)
    own = np.arange(len(vectors))
    return float(np.median(pair_distances(vectors, own, neighbors[:, column])))


def _near_pairs(
    embeddings: np.ndarray, neighbors: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs within the limit, column by column: a row ends at its first neighbour beyond it."""
    rows = np.arange(len(embeddings))
    found = [(rows[:0], rows[:0])]
    for column in range(1, neighbors.shape[1]):
        others = neighbors[rows, column]
        near = pair_distances(embeddings, rows, others) <= limit
        rows, others = rows[near], others[near]
        if not len(rows):
            break
        found.append((rows, others))
    first, second = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second)


def _patterns(images: np.ndarray) -> npt.NDArray[np.float32]:
    """Thumbnails without their mean, of unit length but for images that are nearly flat."""
    grey = grey_thumbnails(images)
    grey -= grey.mean(axis=1, keepdims=True)
    floor = _CONTRAST_FLOOR**2 * grey.shape[1]
    lengths: npt.NDArray[np.float32] = np.sqrt((grey**2).sum(axis=1, keepdims=True) + floor)
    return grey / lengths


def pair_distances(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Half the squared distance of pairs: exactly 0 for equal vectors, unlike 1 - cosine.

    Args:
        vectors: Perhaps memory-mapped. Shape: (num_samples, dim).
        first: One item of each pair. Shape: (num_pairs,).
        second: The other. Shape: (num_pairs,).

    Returns:
        float64, at least 0. Shape: (num_pairs,).
    """
    found = np.empty(len(first), np.float64)
    for start in range(0, len(first), _BLOCK):
        rows = slice(start, start + _BLOCK)
        apart = vectors[first[rows]] - vectors[second[rows]]
        found[rows] = 0.5 * np.einsum("nd,nd->n", apart, apart)
        give_back(vectors)
    return found


def _groups(count: int, first: np.ndarray, second: np.ndarray) -> npt.NDArray[np.int32]:
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, start, component, size = np.unique(
        component, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.full(len(size), -1, np.int32)
    several = np.flatnonzero(size > 1)
    number[several[np.argsort(start[several])]] = np.arange(len(several))
    return number[component]

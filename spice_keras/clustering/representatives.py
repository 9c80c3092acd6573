"""The items that stand for most others: the questions a person's answers are worth most on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from spice_keras.clustering.kmeans import LARGEST_FULL_KMEANS

_STARTS = 3
_FINER = 3  # cells for each item that is chosen
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Representatives:
    """Items that each stand for the cell around them, the largest cell first.

    Attributes:
        rows: int64, the items. Shape: (num_representatives,).
        sizes: int64, items in the cell of each. Shape: (num_representatives,).
        cells: int64, the place in `rows` of the cell of every item. Shape: (num_samples,).
    """

    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Representative:
    """An item that stands for others.

    Attributes:
        row: The item.
        members: Rows of all items it stands for, itself among them, sorted.
    """

    row: int
    members: npt.NDArray[np.int64]


def worth_asking(
    features: np.ndarray, confidence: np.ndarray, count: int, *, seed: int
) -> list[Representative]:
    """Choose the items whose classes a person should say first.

    One half are the representatives of a coarse k-means: together they cover all items, however
    sure the clustering is of them. The other half are those of the cells of a fine k-means in which
    the most doubt lies: the sum of 1 - confidence over the cell.

    Args:
        features: One vector an item, of unit length. Shape: (num_samples, dim).
        confidence: Probability of each item's cluster. Shape: (num_samples,).
        count: How many to choose, at least 2.
        seed: Seed of the starts.

    Returns:
        At most `count` items, each once: the coarse cells', largest first, then the fine ones',
        most doubtful first.
    """
    coarse = representatives(features, count // 2, seed=seed)
    fine = representatives(features, _FINER * count, seed=seed)
    doubt = np.bincount(fine.cells, weights=1.0 - np.asarray(confidence, np.float64))
    chosen = [
        Representative(int(row), np.flatnonzero(coarse.cells == place))
        for place, row in enumerate(coarse.rows)
    ]
    known = set(coarse.rows.tolist())
    for place in np.argsort(-doubt, kind="stable").tolist():
        row = int(fine.rows[place])
        if len(chosen) < count and row not in known:
            chosen.append(Representative(row, np.flatnonzero(fine.cells == place)))
    return chosen


def representatives(features: np.ndarray, count: int, *, seed: int) -> Representatives:
    """The items nearest to the centres of a fine k-means.

    Args:
        features: One vector an item, of unit length. Shape: (num_samples, dim).
        count: Centres, at least 1; no more than there are items are taken.
        seed: Seed of the starts.

    Returns:
        One item for each cell that has any; fewer than `count` if items are alike.

    Raises:
        ValueError: If `count` is below 1 or there are no items.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.05], [0.0, 1.0]])
        >>> found = representatives(rows, 2, seed=0)
        >>> found.rows.tolist(), found.sizes.tolist()
        ([2, 3], [3, 1])
    """
    if count < 1 or not len(features):
        raise ValueError(
            f"There must be an item and at least one centre. Received: {count=}, {features.shape=}"
        )
    rows = np.asarray(features, np.float32)
    count = min(count, len({hash(row.tobytes()) for row in rows}))
    estimator = MiniBatchKMeans if len(rows) > LARGEST_FULL_KMEANS else KMeans
    model = estimator(n_clusters=count, n_init=_STARTS, random_state=seed)
    with threadpool_limits(1):
        model.fit(rows)
        cells = model.predict(rows).astype(np.int64)
    distance = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        own = model.cluster_centers_[cells[block]]
        distance[block] = np.square(rows[block] - own).sum(axis=1)
    sizes = np.bincount(cells, minlength=count)
    order = [cell for cell in np.argsort(-sizes, kind="stable") if sizes[cell]]
    place = np.full(count, -1, np.int64)
    place[order] = np.arange(len(order))
    members = [np.flatnonzero(cells == cell) for cell in order]
    nearest = np.array([found[distance[found].argmin()] for found in members], np.int64)
    return Representatives(nearest, sizes[order].astype(np.int64), place[cells])

"""How many groups there are: one number, the interval that is as good, or no clear number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from spice_keras.errors import UserError
from spice_keras.groups.candidates import (
    Candidates,
    GridTraining,
    best_clusters,
    graph_of,
    train_candidates,
)
from spice_keras.groups.changes import Changes, cluster_changes
from spice_keras.groups.grid import (
    ITEMS_PER_CLUSTER,
    check_grid,
    cluster_grid,
    usual_largest,
)
from spice_keras.groups.space import for_silhouette, group_space, reduced
from spice_keras.heads.float32 import float32_layers
from spice_keras.metrics.clustering import adjusted_rand_index
from spice_keras.metrics.modularity import coding_length, modularity, relative_modularity
from spice_keras.metrics.trust import silhouette
from spice_keras.progress import Screen, silent_screen

_MOST_ITEMS = 5000
_AS_GOOD = 0.07  # of the largest score: how much less explains the data as well
_WIDEST_CLEAR = 2.5  # times the smallest number of the interval
_LEAST_RELATIVE = 0.8  # of the largest modularity that so many clusters can have
_LEAST_STABLE = 0.5  # ARI of the halves at the largest score


@dataclass(frozen=True)
class GroupCurves:
    """What speaks for each number of clusters; every array has one value for each number.

    Attributes:
        num_clusters: The numbers, int64 [G].
        modularity: Links of the neighbour graph inside clusters, beyond chance.
        relative: Modularity as a share of the largest that so many clusters can have.
        score: Modularity times the square of `relative`, which decides.
        stability: ARI of the clusters that two halves of the data lead to, on all items; 0 is
            chance.
        silhouette: Mean silhouette in 50 dimensions; NaN if it is not defined.
        coding_length: Bits for each link of the neighbour graph.
    """

    num_clusters: npt.NDArray[np.int64]
    modularity: npt.NDArray[np.float64]
    relative: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    stability: npt.NDArray[np.float64]
    silhouette: npt.NDArray[np.float64]
    coding_length: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupSuggestion:
    """How many groups a data set has, and what that rests on.

    Attributes:
        num_clusters: The number that explains the data best.
        interval: Smallest and largest number that explain the data about as well.
        second: The next best number.
        unclear: Why there is no clear number, as a clause; None if there is one.
        changes: What happens between `num_clusters` and `second`.
        curves: What speaks for each number.
        clusters: The clusters of each number, int32 [G, n].
        rows: The items that were looked at, int64 [n]: all, or 5,000 drawn at random.
    """

    num_clusters: int
    interval: tuple[int, int]
    second: int
    unclear: str | None
    changes: Changes
    curves: GroupCurves
    clusters: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]

    def clusters_of(self, num_clusters: int) -> npt.NDArray[np.int32]:
        """Return the clusters of the looked-at items for one of the numbers that were tried.

        Args:
            num_clusters: One of `curves.num_clusters`.

        Returns:
            Cluster of each item. Shape: (n,).

        Raises:
            ValueError: If this number was not tried.
        """
        tried = self.curves.num_clusters.tolist()
        if num_clusters not in tried:
            raise ValueError(f"Tried were {tried}. Received: {num_clusters=}")
        return self.clusters[tried.index(num_clusters)]


def suggest_clusters(
    X: npt.ArrayLike,
    *,
    smallest: int = 2,
    largest: int | None = None,
    neighbors: np.ndarray | None = None,
    training: GridTraining | None = None,
    screen: Screen | None = None,
) -> GroupSuggestion:
    """Estimate how many groups the rows of X have, without labels.

    Heads are trained for each number of clusters, on all rows and on two halves. The number with
    the largest score is recommended: the modularity of the neighbour graph, times the square of
    its share of the largest modularity that so many clusters can have. Modularity alone prefers too
    many clusters, the share alone too few; powers from 1.5 to 2.5 gave the same numbers. All
    numbers around the best one within 7 % of its score make the interval.

    Args:
        X: Embeddings, any finite real numbers. Shape: (num_items, dim).
        smallest: Smallest number to try, at least 2.
        largest: Largest number to try, at most a tenth of the rows; None for 30, or less for
            fewer than 300 rows.
        neighbors: Nearest neighbours of each row, itself first, if they are known already; None to
            find them. Shape: (num_items, num_neighbors).
        training: How heads are trained, and the seed.
        screen: Where progress shows; None for nowhere.

    Returns:
        The number, the interval, and the curves.

    Raises:
        UserError: If the range does not suit the data, or all rows are the same.

    Modularity: Newman and Girvan 2004, doi:10.1103/PhysRevE.69.026113. Halves: Ben-Hur, Elisseeff
    and Guyon 2002, "A stability based method for discovering structure in clustered data".

    Example:
        >>> import numpy as np
        >>> from spice_keras import suggest_clusters
        >>> noise = 0.1 * np.random.default_rng(0).normal(size=(90, 6))
        >>> rows = np.eye(6)[:3].repeat(30, axis=0) + noise
        >>> found = suggest_clusters(rows, largest=5)
        >>> found.num_clusters, found.interval
        (3, (3, 3))
    """
    training, screen = training or GridTraining(), screen or silent_screen()
    rows = _drawn_rows(X, training.seed)
    features = np.asarray(X)[rows]
    if largest is None:
        largest = _usual_largest(len(features), smallest)
    grid = cluster_grid(smallest, largest)
    space = group_space(features)
    check_grid(largest, space)
    points = reduced(space)
    # One thread: threads that wait for each other by spinning are slow beside TensorFlow's.
    with threadpool_limits(1), float32_layers():
        given = neighbors is not None and len(rows) == len(neighbors)
        graph = np.asarray(neighbors)[:, 1:11] if given else graph_of(space)
        with screen.task("groups", len(grid), unit="rows", per_step=len(points)) as task:
            candidates = train_candidates(points, graph, grid, training, task)
        clusters = best_clusters(candidates, graph, grid)
        curves = _curves(grid, clusters, candidates, graph, for_silhouette(points))
    return _judged(curves, clusters, rows)


def _drawn_rows(X: npt.ArrayLike, seed: int) -> npt.NDArray[np.int64]:
    values = np.asarray(X)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise UserError(
            "Expected finite features, one row an item: (num_items, dim). "
            f"Received: shape {values.shape}, {np.count_nonzero(~np.isfinite(values))} values "
            "that are not finite."
        )
    if len(values) <= _MOST_ITEMS:
        return np.arange(len(values))
    return np.sort(np.random.default_rng(seed).permutation(len(values))[:_MOST_ITEMS])


def _usual_largest(num_items: int, smallest: int) -> int:
    largest = usual_largest(num_items)
    if largest <= smallest:
        raise UserError(
            f"Too few items to tell numbers of clusters apart: expected at least "
            f"{ITEMS_PER_CLUSTER * (smallest + 1)}. Received: {num_items}."
        )
    return largest


def _curves(
    grid: tuple[int, ...],
    clusters: np.ndarray,
    candidates: list[Candidates],
    graph: np.ndarray,
    points: np.ndarray,
) -> GroupCurves:
    explained = np.array([modularity(one, graph) for one in clusters])
    pairs = zip(clusters, grid, strict=True)
    relative = np.array([relative_modularity(one, graph, number) for one, number in pairs])
    silhouettes = [silhouette(points, one) for one in clusters]
    return GroupCurves(
        num_clusters=np.array(grid),
        modularity=explained,
        relative=relative,
        score=explained * relative**2,
        stability=np.array([halves_agreement(one.halves) for one in candidates]),
        silhouette=np.array([np.nan if one is None else one for one in silhouettes]),
        coding_length=np.array([coding_length(one, graph) for one in clusters]),
    )


def halves_agreement(halves: np.ndarray) -> float:
    """Measure how alike two halves of the data cluster all of it.

    Args:
        halves: Clusters of all items by the heads of each half. Shape: (2, H, num_items).

    Returns:
        The largest ARI of a head of the one half and a head of the other, in [-0.5, 1]: 0 is
        chance, whatever the number of clusters.

    Ben-Hur, Elisseeff and Guyon 2002, "A stability based method for discovering structure in
    clustered data", with the index corrected for chance of Hubert and Arabie 1985,
    doi:10.1007/BF01908075.
    """
    return max(adjusted_rand_index(one, other) for one in halves[0] for other in halves[1])


def _judged(curves: GroupCurves, clusters: np.ndarray, rows: np.ndarray) -> GroupSuggestion:
    best = int(curves.score.argmax())
    others = np.where(np.arange(len(curves.score)) == best, -np.inf, curves.score)
    second = int(others.argmax())
    low, high = as_good(curves.score, _AS_GOOD)
    return GroupSuggestion(
        num_clusters=int(curves.num_clusters[best]),
        interval=(int(curves.num_clusters[low]), int(curves.num_clusters[high])),
        second=int(curves.num_clusters[second]),
        unclear=_why_unclear(curves, best, low, high),
        changes=cluster_changes(clusters[best], clusters[second]),
        curves=curves,
        clusters=clusters,
        rows=rows,
    )


def as_good(score: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Find the stretch around the largest score that is not much below it.

    Args:
        score: One for each number of clusters, the largest above 0. Shape: (G,).
        tolerance: Share of the largest that may be missing, in [0, 1).

    Returns:
        First and last place of the stretch.
    """
    enough = score >= (1.0 - tolerance) * score.max()
    low = high = int(score.argmax())
    while low > 0 and enough[low - 1]:
        low -= 1
    while high + 1 < len(score) and enough[high + 1]:
        high += 1
    return low, high


def _why_unclear(curves: GroupCurves, best: int, low: int, high: int) -> str | None:
    numbers = curves.num_clusters
    if curves.stability[best] < _LEAST_STABLE:
        return "two halves of the data lead to different clusters"
    if curves.relative[best] < _LEAST_RELATIVE:
        return "the groups run into one another"
    if best == len(numbers) - 1:
        return f"the curve still rises at {numbers[best]}, the largest number that was tried"
    if numbers[high] > _WIDEST_CLEAR * numbers[low]:
        return "very different numbers explain the data equally well"
    return None


def suggested_number(
    features: npt.ArrayLike,
    neighbors: np.ndarray | None = None,
    *,
    seed: int = 0,
    screen: Screen | None = None,
) -> int:
    """Choose the number of clusters of a run.

    Args:
        features: Embeddings. Shape: (num_items, dim).
        neighbors: Their nearest neighbours, each item first, or None.
            Shape: (num_items, num_neighbors).
        seed: Seed of everything drawn.
        screen: Where progress shows; None for nowhere.

    Returns:
        The number of `suggest_clusters`, whether it is clear or not.

    Raises:
        UserError: If there are fewer than 30 items, or all are the same.
    """
    training = GridTraining(seed=seed)
    found = suggest_clusters(features, neighbors=neighbors, training=training, screen=screen)
    return found.num_clusters

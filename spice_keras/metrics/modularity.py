"""Modularity: how much of the neighbour graph lies inside the clusters, beyond chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spice_keras.scratch import row_blocks

_ROWS = 2**16


def modularity(clusters: npt.ArrayLike, neighbors: np.ndarray) -> float:
    """Measure how much more often neighbours share a cluster than items drawn at random would.

    A clustering that cuts through groups loses links; one that leaves groups together gains
    nothing over chance. The maximum over the number of clusters lies between the two.

    Args:
        clusters: Cluster of each item, integers from 0. Shape: (num_items,).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_items, num_neighbors).

    Returns:
        The mean share of an item's neighbours in its own cluster, minus the sum of the squared
        shares of the clusters: at least -1 and below 1, and 0 for a single cluster.

    Raises:
        ValueError: If there is no item or no neighbour, or the shapes disagree.

    Newman and Girvan 2004, doi:10.1103/PhysRevE.69.026113, Eq. 5, with the same degree for all
    items.

    Example:
        >>> import numpy as np
        >>> modularity([0, 0, 1, 1], np.array([[1], [0], [3], [2]]))
        0.5
    """
    ids, graph = checked_graph(clusters, neighbors)
    shares = np.bincount(ids) / len(ids)
    kept = sum(
        int(np.count_nonzero(ids[graph[rows]] == ids[rows, np.newaxis]))
        for rows in row_blocks(graph, _ROWS)
    )
    return float(kept / graph.size - np.sum(shares**2))


def relative_modularity(clusters: npt.ArrayLike, neighbors: np.ndarray, num_clusters: int) -> float:
    """Measure modularity as a share of the largest that so many clusters can have.

    That is 1 - 1/K, of clusters of equal size that no link leaves.

    Args:
        clusters: Cluster of each item, integers from 0. Shape: (num_items,).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_items, num_neighbors).
        num_clusters: K, at least 2; empty clusters count.

    Returns:
        1 if no link leaves its cluster and all clusters are equally large, 0 if links stay as
        chance would have it.

    Raises:
        ValueError: If K is too small, there is no item or no neighbour, or the shapes disagree.

    The modularity of Newman and Girvan 2004, doi:10.1103/PhysRevE.69.026113, over its bound.

    Example:
        >>> import numpy as np
        >>> relative_modularity([0, 0, 1, 1], np.array([[1], [0], [3], [2]]), 2)
        1.0
    """
    ids, _ = checked_graph(clusters, neighbors)
    if num_clusters < max(2, ids.max() + 1):
        raise ValueError(
            "`num_clusters` must be at least 2 and above every cluster. "
            f"Received: {num_clusters=}, largest cluster {ids.max()}"
        )
    return modularity(clusters, neighbors) / (1.0 - 1.0 / num_clusters)


def coding_length(clusters: npt.ArrayLike, neighbors: np.ndarray) -> float:
    """Count the bits that describe the neighbour graph with the help of the clusters.

    An item's cluster is told first. Of each neighbour it is then told whether it lies in the same
    cluster, and which item there, or elsewhere, it is. Neighbours of neighbours are neighbours
    more often than this code knows, so it prefers more clusters than there are groups.

    Args:
        clusters: Cluster of each item, integers from 0. Shape: (num_items,).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_items, num_neighbors).

    Returns:
        Bits for each link, the item's cluster included; log2 of the number of items for a single
        cluster.

    Raises:
        ValueError: If there is no item or no neighbour, or the shapes disagree.

    A planted partition in the sense of Peixoto (arXiv 1212.4794), whose links all have one
    probability inside clusters and another between them.

    Example:
        >>> import numpy as np
        >>> coding_length([0, 0, 1, 1], np.array([[1], [0], [3], [2]]))
        2.0
    """
    ids, graph = checked_graph(clusters, neighbors)
    sizes = np.bincount(ids).astype(np.float64)
    own = sizes[ids]
    labels = float(np.mean(np.log2(len(ids) / own))) / graph.shape[1]
    inside = np.mean(ids[graph] == ids[:, np.newaxis], axis=1)
    elsewhere = np.maximum(len(ids) - own, 1.0)
    places = float(np.mean(inside * np.log2(own) + (1.0 - inside) * np.log2(elsewhere)))
    return labels + places + _entropy(float(inside.mean()))


def _entropy(share: float) -> float:
    """Bits of a coin that falls on one side with this probability."""
    outcomes = np.array([share, 1.0 - share])
    outcomes = outcomes[outcomes > 0.0]
    return float(-np.sum(outcomes * np.log2(outcomes)))


def checked_graph(
    clusters: npt.ArrayLike, neighbors: np.ndarray
) -> tuple[npt.NDArray[np.int64], np.ndarray]:
    """Refuse clusters and a neighbour graph that do not describe the same items.

    Args:
        clusters: Cluster of each item. Shape: (num_items,).
        neighbors: Its neighbours. Shape: (num_items, num_neighbors).

    Returns:
        Both as arrays.

    Raises:
        ValueError: If there is no item or no neighbour, or the shapes disagree.
    """
    ids, graph = np.asarray(clusters), np.asarray(neighbors)
    fitting = ids.ndim == 1 and graph.ndim == 2 and len(ids) == len(graph)
    if not fitting or not graph.size:
        raise ValueError(
            "`neighbors` must be (num_items, num_neighbors) for the items of `clusters`, with at "
            f"least one neighbour. Received: shapes {ids.shape} and {graph.shape}"
        )
    return ids.astype(np.int64, copy=False), graph

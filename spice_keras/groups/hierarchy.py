"""Which clusters belong together: the order in which they merge, cut at any number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spice_keras.errors import UserError
from spice_keras.metrics.modularity import checked_graph


class Merge(NamedTuple):
    """Two groups that become one.

    Attributes:
        first: A group: a cluster 0..K-1, or K + i for what the i-th merge made.
        second: The other group.
        lift: Links of the neighbour graph between them, as a multiple of those that chance would
            put there; 0 if nothing links them.
        num_items: Items of both.
    """

    first: int
    second: int
    lift: float
    num_items: int


@dataclass(frozen=True)
class Hierarchy:
    """The order in which clusters merge, the most closely linked first.

    Attributes:
        sizes: Items of each cluster, int64 [K]; empty clusters take no part.
        merges: As many as there are clusters with items, less one.

    Example:
        >>> import numpy as np
        >>> from spice_keras.groups.hierarchy import merge_clusters
        >>> clusters = np.array([0, 0, 1, 1, 2, 2])
        >>> neighbors = np.array([[1, 2], [0, 2], [3, 0], [2, 1], [5, 3], [4, 3]])
        >>> merge_clusters(clusters, neighbors).cut(2)[clusters].tolist()
        [0, 0, 0, 0, 1, 1]
    """

    sizes: npt.NDArray[np.int64]
    merges: tuple[Merge, ...]

    @property
    def num_clusters(self) -> int:
        """Clusters with items."""
        return int(np.count_nonzero(self.sizes))

    def cut(self, num_groups: int) -> npt.NDArray[np.int64]:
        """Stop merging when this many groups are left.

        Args:
            num_groups: From 1 to the number of clusters with items.

        Returns:
            The group of each cluster, numbered from 0 in the order of each group's first cluster;
            -1 for an empty cluster. `cut(K)[clusters]` is the coarser assignment. Shape: (K,).

        Raises:
            UserError: If there are not so many clusters.
        """
        if not 1 <= num_groups <= self.num_clusters:
            raise UserError(
                f"Clusters can only be joined: expected between 1 and {self.num_clusters} groups, "
                f"the number of clusters with items. Received: {num_groups}."
            )
        groups = {int(cluster): [int(cluster)] for cluster in np.flatnonzero(self.sizes)}
        for number, merge in enumerate(self.merges[: self.num_clusters - num_groups]):
            joined = groups.pop(merge.first) + groups.pop(merge.second)
            groups[len(self.sizes) + number] = joined
        found = np.full(len(self.sizes), -1)
        for group, members in enumerate(sorted(groups.values(), key=min)):
            found[members] = group
        return found

    def leaf_order(self) -> list[int]:
        """Return the clusters in an order in which no two merges cross, for drawing."""
        below: dict[int, list[int]] = {int(c): [int(c)] for c in np.flatnonzero(self.sizes)}
        for number, merge in enumerate(self.merges):
            below[len(self.sizes) + number] = below.pop(merge.first) + below.pop(merge.second)
        return [cluster for members in below.values() for cluster in members]


def merge_clusters(
    clusters: npt.ArrayLike, neighbors: np.ndarray, num_clusters: int | None = None
) -> Hierarchy:
    """Merge clusters step by step: always the two that the neighbour graph links most closely.

    Closeness is the number of links between two groups over the number that chance would put
    there, which is average linkage on the graph. No size is favoured.

    Args:
        clusters: Cluster of each item, integers from 0. Shape: (num_items,).
        neighbors: Nearest neighbours of each item, itself not among them.
            Shape: (num_items, num_neighbors).
        num_clusters: K; by default the largest cluster + 1.

    Returns:
        The order of the merges, down to a single group.

    Raises:
        ValueError: If there is no item or no neighbour, or the shapes disagree.

    Sokal and Michener 1958, average linkage, on the links of a graph.
    """
    ids, graph = checked_graph(clusters, neighbors)
    count = int(ids.max()) + 1 if num_clusters is None else num_clusters
    links = _links(ids, graph, count)
    sizes = np.bincount(ids, minlength=count).astype(np.int64)
    # Row i is the group `names[i]`; a merge keeps the first row and drops the second.
    names, items = np.flatnonzero(sizes).tolist(), sizes[sizes > 0].astype(np.float64)
    links = links[np.ix_(sizes > 0, sizes > 0)]
    merges = []
    while len(names) > 1:
        lift = links * (len(ids) ** 2 / (links.sum() * np.outer(items, items)))
        np.fill_diagonal(lift, -1.0)
        first, second = sorted(np.unravel_index(int(lift.argmax()), lift.shape))
        items[first] += items[second]
        merges.append(
            Merge(names[first], names[second], float(lift[first, second]), int(items[first]))
        )
        names[first] = count + len(merges) - 1
        links[first] += links[second]
        links[:, first] += links[:, second]
        links = np.delete(np.delete(links, second, axis=0), second, axis=1)
        items = np.delete(items, second)
        del names[second]
    return Hierarchy(sizes, tuple(merges))


def _links(ids: np.ndarray, graph: np.ndarray, count: int) -> npt.NDArray[np.float64]:
    """Mean of the links from one cluster to another and back, for every two clusters."""
    ends = np.repeat(ids, graph.shape[1]) * count + ids[graph].ravel()
    links = np.bincount(ends, minlength=count**2).reshape(count, count)
    return (links + links.T) / 2.0

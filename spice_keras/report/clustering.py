"""What was clustered, and into which clusters: the records that most of the report reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spice_keras.metrics.cluster_links import ClusterLinks
from spice_keras.words.naming import ClusterName

Noun = Literal["image", "item"]


@dataclass(frozen=True, eq=False)
class Items:
    """The N items of a run: images, or the rows of a file of embeddings.

    Attributes:
        ids: [N] name of each item.
        images: [N, S, S, 3] uint8, perhaps a memory map; only rows that are shown are read. None
            in a run on embeddings: the report then shows names and speaks of items.
    """

    ids: Sequence[str]
    images: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Refuses images of other items.

        Raises:
            ValueError: there is not one image for each name.
        """
        if self.images is not None:
            check_length("images", self.images, len(self.ids))

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def noun(self) -> Noun:
        """What the report calls one of them."""
        return "item" if self.images is None else "image"

    @property
    def image_size(self) -> int:
        """S, in pixels; 0 without images."""
        return 0 if self.images is None else int(self.images.shape[1])


@dataclass(frozen=True, eq=False)
class Clustering:
    """The clusters a run ends with; N items, K clusters.

    Attributes:
        num_clusters: K.
        clusters: [N] cluster of each item, in 0..K-1.
        confidence: [N] probability of that cluster, in [0, 1].
        reliable: [N] whether the item passed the reliability thresholds.
        agrees: [N] whether most of its nearest neighbours are in its cluster.
        prototypes: cluster to the items nearest to its centre, best first.
        least_certain: cluster to its items of lowest confidence, worst first.
        cluster_names: what each cluster is called, or why it has no name; empty without words.
        words_from: where the words come from; None without words.
        links: how tight each cluster is and what it mixes with; None where that was not measured.
    """

    num_clusters: int
    clusters: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    reliable: npt.NDArray[np.bool_]
    agrees: npt.NDArray[np.bool_]
    prototypes: Mapping[int, npt.NDArray[np.integer[Any]]]
    least_certain: Mapping[int, npt.NDArray[np.integer[Any]]]
    links: ClusterLinks | None = None
    cluster_names: Sequence[ClusterName] = ()
    words_from: str | None = None

    def __post_init__(self) -> None:
        """Refuses arrays that do not describe the same items.

        Raises:
            ValueError: an array has another length than `clusters`, or an entry is out of range.
        """
        for name in ("confidence", "reliable", "agrees"):
            check_length(name, getattr(self, name), len(self.clusters))
        check_range("clusters", self.clusters, self.num_clusters)
        if self.cluster_names:
            check_length("cluster_names", self.cluster_names, self.num_clusters)
        if self.links is not None:
            check_length("links.kept", self.links.kept, self.num_clusters)
        for name in ("prototypes", "least_certain"):
            for indices in getattr(self, name).values():
                check_range(name, indices, len(self.clusters))

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """[K] number of items in each cluster."""
        return np.bincount(self.clusters, minlength=self.num_clusters).astype(np.int64)

    @cached_property
    def reliable_members(self) -> npt.NDArray[np.int64]:
        """[K] reliable items among the members of each cluster, never more than its size.

        The reliable labels handed to SPICE-Semi may be more: those are counted in the clusters of
        SPICE-Self, and SPICE-Semi may have moved an item since.
        """
        members = np.asarray(self.clusters)[np.asarray(self.reliable, dtype=bool)]
        return np.bincount(members, minlength=self.num_clusters).astype(np.int64)

    def name_of(self, cluster: int) -> str | None:
        """Returns what a cluster is called; None if it has no name."""
        return self.cluster_names[cluster].name if self.cluster_names else None

    def title_of(self, cluster: int) -> str:
        """Returns what sentences call a cluster: "cluster 7", or "cluster 7 (dog)"."""
        name = self.name_of(cluster)
        return f"cluster {cluster}" if name is None else f"cluster {cluster} ({name})"

    @property
    def is_collapsed(self) -> bool:
        """Whether one of several clusters holds every item: then no groups were found."""
        return collapsed(self.sizes)


def collapsed(sizes: npt.ArrayLike) -> bool:
    """Tells whether one of several clusters holds everything.

    Args:
        sizes: [K] members of each cluster.

    Returns:
        True where K is at least 2 and exactly one cluster has members.
    """
    counts = np.asarray(sizes)
    return len(counts) > 1 and np.count_nonzero(counts) == 1


def check_length(name: str, values: Any, expected: int) -> None:
    """Refuses an array of other items.

    Args:
        name: of the array.
        values: the array.
        expected: entries it must have.

    Raises:
        ValueError: it has more, or fewer.
    """
    if len(values) != expected:
        raise ValueError(
            f"`{name}` must have {expected} entries to describe the same run as the other arrays. "
            f"Received: len({name})={len(values)}"
        )


def check_range(name: str, values: npt.ArrayLike, bound: int) -> None:
    """Refuses numbers outside 0..bound-1.

    Args:
        name: of the array.
        values: whole numbers.
        bound: one more than the largest allowed.

    Raises:
        ValueError: a number is out of range.
    """
    array = np.asarray(values)
    if array.size and (array.min() < 0 or array.max() >= bound):
        raise ValueError(
            f"`{name}` must lie in 0..{bound - 1}. "
            f"Received: {name} from {array.min()} to {array.max()}"
        )

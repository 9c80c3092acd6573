"""Everything a run report is made from, in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spice_keras.report.figure_data import HeadCurves, PrototypeMaps

Item = Literal["image", "item"]

FINAL_METHODS = ("semi", "self")


@dataclass(frozen=True, eq=False)
class ReportData:
    """One clustering run, as the report shows it; N items, K clusters, C classes.

    An item is an image, or a row of a file of embeddings in a run that has no images.

    The report reads nothing else: no file, no configuration, no label beyond `metrics`,
    `confusion`, `class_names`, `matching`, `map_labels` and the accuracies in `heads`.

    Attributes:
        name: name of the run.
        created: when the report was made, ISO 8601.
        command: the command line that made it.
        image_size: side S of the square images, in pixels; not read without images.
        num_clusters: K.
        images: [N, S, S, 3] uint8, perhaps a memory map; only rows that are shown are read.
            None in a run on embeddings: the report then shows ids and speaks of items.
        ids: [N] name of each item.
        clusters: [N] cluster of each item, in 0..K-1.
        confidence: [N] largest cluster probability of each item, in [0, 1].
        reliable: [N] whether the item passed the reliability thresholds.
        agrees: [N] whether the cluster agrees with that of the nearest neighbours.
        prototypes: cluster to the items nearest to its centre, best first.
        least_certain: cluster to its items of lowest confidence, worst first.
        map_points: [n, 2] two-dimensional map of the embeddings.
        map_indices: [n] which item each point is.
        map_method: name of the projection.
        metrics: "self", "semi", "kmeans_embeddings", "kmeans_pixels", each a mapping of figures,
            None or absent.
        confusion: [C, K] number of items of each class in each cluster; None without labels.
        class_names: [C]; None without labels.
        history: stage ("pretrain", "self", "semi") to one row of numbers per epoch.
        thresholds: the thresholds the reliable labels were chosen with.
        reliable_counts: [K] reliable pseudo-labels per cluster, as handed to SPICE-Semi, if it ran.
        skipped: files left out, each with the reason.
        notes: stated adaptations and warnings.
        timings: stage to seconds.
        environment: versions and hardware.
        config_yaml: the full configuration.
        matching: cluster to class after Hungarian matching; None without labels.
        objective: what the clustering heads were trained with.
        notices: what a reader must know to judge the result, shown inside the verdict; for
            example that the encoder was trained with labels.
        chosen: name and reason of each choice the run made for its user.
        heads: phase of self-labelling ("self", "refine") to what its heads did; may be empty.
        prototype_maps: the first prototypes with their heat maps; None where the encoder has no
            map, or there are no images.
        map_labels: [n] class of each point of the map, -1 where unknown; None without labels.
    """

    name: str
    created: str
    command: str
    image_size: int
    num_clusters: int
    images: npt.NDArray[np.uint8] | None
    ids: Sequence[str]
    clusters: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    reliable: npt.NDArray[np.bool_]
    agrees: npt.NDArray[np.bool_]
    prototypes: Mapping[int, npt.NDArray[np.integer[Any]]]
    least_certain: Mapping[int, npt.NDArray[np.integer[Any]]]
    map_points: npt.NDArray[np.float32]
    map_indices: npt.NDArray[np.integer[Any]]
    map_method: str
    metrics: Mapping[str, Any]
    confusion: npt.NDArray[np.int64] | None
    class_names: Sequence[str] | None
    history: Mapping[str, Sequence[Mapping[str, Any]]]
    thresholds: Mapping[str, Any]
    reliable_counts: Sequence[int]
    skipped: Sequence[tuple[str, str]]
    notes: Sequence[str]
    timings: Mapping[str, float]
    environment: Mapping[str, str]
    config_yaml: str
    matching: Mapping[int, int] | None = None
    objective: Literal["prototypes", "neighbors"] = "prototypes"
    notices: tuple[str, ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()
    heads: Mapping[str, HeadCurves] = field(default_factory=dict)
    prototype_maps: PrototypeMaps | None = None
    map_labels: npt.NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        """Refuses arrays that do not describe the same items.

        Raises:
            ValueError: an array has another length than `ids`, or an entry is out of range.
        """
        if self.images is not None:
            self._check_length("images", len(self.images), self.num_images)
        for name in ("clusters", "confidence", "reliable", "agrees"):
            self._check_length(name, len(getattr(self, name)), self.num_images)
        self._check_length("reliable_counts", len(self.reliable_counts), self.num_clusters)
        self._check_length("map_points", len(self.map_points), len(self.map_indices))
        if self.map_labels is not None:
            self._check_length("map_labels", len(self.map_labels), len(self.map_indices))
        if self.prototype_maps is not None:
            self._check_range("prototype_maps", self.prototype_maps.indices, self.num_images)
            self._check_range("prototype_maps", self.prototype_maps.clusters, self.num_clusters)
        self._check_range("clusters", self.clusters, self.num_clusters)
        self._check_range("map_indices", self.map_indices, self.num_images)
        for name in ("prototypes", "least_certain"):
            for indices in getattr(self, name).values():
                self._check_range(name, indices, self.num_images)
        if self.confusion is not None:
            num_classes, num_clusters = self.confusion.shape
            self._check_length("confusion.T", num_clusters, self.num_clusters)
            if self.class_names is not None:
                self._check_length("class_names", len(self.class_names), num_classes)

    @property
    def num_images(self) -> int:
        """N, the number of clustered images or other items."""
        return len(self.ids)

    @property
    def item(self) -> Item:
        """What was clustered, as the texts of the report call one of it."""
        return "item" if self.images is None else "image"

    @property
    def cluster_sizes(self) -> npt.NDArray[np.int64]:
        """[K] number of items in each cluster."""
        return np.bincount(self.clusters, minlength=self.num_clusters).astype(np.int64)

    @property
    def reliable_members(self) -> npt.NDArray[np.int64]:
        """[K] reliable items among the members of each cluster, never more than its size.

        `reliable_counts` may be larger: those are counted in the clusters of SPICE-Self, and
        SPICE-Semi may have moved an item since.
        """
        members = np.asarray(self.clusters)[np.asarray(self.reliable, dtype=bool)]
        return np.bincount(members, minlength=self.num_clusters).astype(np.int64)

    def _check_length(self, field: str, received: int, expected: int) -> None:
        if received != expected:
            raise ValueError(
                f"`{field}` must have {expected} entries to describe the same run as the other "
                f"fields. Received: len({field})={received}"
            )

    def _check_range(self, field: str, values: npt.NDArray[Any], bound: int) -> None:
        array = np.asarray(values)
        if array.size and (array.min() < 0 or array.max() >= bound):
            raise ValueError(
                f"`{field}` must lie in 0..{bound - 1}. "
                f"Received: {field} from {array.min()} to {array.max()}"
            )


def final_method(metrics: Mapping[str, Any]) -> str | None:
    """Names the method whose clusters a run ends with.

    Args:
        metrics: as in `ReportData.metrics`.

    Returns:
        "semi" where SPICE-Semi was measured, else "self", else None.
    """
    return next((method for method in FINAL_METHODS if metrics.get(method)), None)

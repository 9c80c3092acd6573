"""Everything a run report is made from, in one frozen record of a few parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spice_keras.report.classes import Classes
from spice_keras.report.clustering import Clustering, Items, check_length, check_range
from spice_keras.report.embedding_map import EmbeddingMap
from spice_keras.report.heads import HeadCurves
from spice_keras.report.prototypes import PrototypeMaps
from spice_keras.report.setup import Setup
from spice_keras.report.training import Rows
from spice_keras.report.unusual import Unusual

if TYPE_CHECKING:  # TensorFlow comes with it
    from spice_keras.groups.suggest import GroupSuggestion


@dataclass(frozen=True)
class RunRecord:
    """When, where and how a run was made.

    Attributes:
        name: of the run.
        created: when the report was made, ISO 8601.
        command: the command line that made it.
        timings: stage to seconds.
        environment: versions and hardware.
        config_yaml: the full configuration.
        folder: the run directory, as it was named.
        model: where the SavedModel goes.
        skipped: files left out, each with the reason.
        notes: stated adaptations and warnings.
    """

    name: str
    created: str
    command: str
    timings: Mapping[str, float]
    environment: Mapping[str, Any]
    config_yaml: str
    folder: str = "RUN"
    model: str = "MODEL"
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ReliableSelection:
    """How the reliable labels were chosen, and how many there are.

    Attributes:
        thresholds: what they were chosen with.
        counts: [K] reliable labels in each cluster of SPICE-Self.
    """

    thresholds: Mapping[str, Any]
    counts: Sequence[int]


@dataclass(frozen=True, eq=False)
class Training:
    """What the training stages recorded, epoch by epoch.

    Attributes:
        history: stage ("pretrain", "self", "refine", "semi") to one row of numbers per epoch.
        heads: phase of self-labelling ("self", "refine") to what its heads did; may be empty.
    """

    history: Mapping[str, Rows]
    heads: Mapping[str, HeadCurves] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReportData:
    """One run, as the report shows it.

    The report reads nothing else: no file, no configuration, and no label but those in `classes`,
    the figures measured against them in `metrics`, and the accuracies in `training.heads`.

    Attributes:
        run: when, where and how it was made.
        setup: how it was set up.
        items: what was clustered.
        clustering: the clusters it ends with.
        reliable: how the reliable labels were chosen.
        metrics: "self", "semi", "kmeans_embeddings", "kmeans_pixels", each a mapping of figures,
            None or absent; of a split, the same under "train".
        training: what the stages recorded.
        embedding_map: the embeddings in the plane.
        classes: the labels it is judged by; None without labels.
        prototype_maps: the first prototypes with their heat maps; None where the encoder has no
            feature map, or there are no images.
        unusual: near-duplicates and outliers; None if they were not looked for.
        groups: how many groups there are; None if nobody asked.
    """

    run: RunRecord
    setup: Setup
    items: Items
    clustering: Clustering
    reliable: ReliableSelection
    metrics: Mapping[str, Any]
    training: Training
    embedding_map: EmbeddingMap
    classes: Classes | None = None
    prototype_maps: PrototypeMaps | None = None
    unusual: Unusual | None = None
    groups: GroupSuggestion | None = None

    def __post_init__(self) -> None:
        """Refuses parts that do not describe the same run.

        Raises:
            ValueError: a part has other items, clusters or classes than the others.
        """
        num_items, num_clusters = len(self.items), self.clustering.num_clusters
        check_length("clusters", self.clustering.clusters, num_items)
        check_length("counts", self.reliable.counts, num_clusters)
        check_range("indices", self.embedding_map.indices, num_items)
        if self.classes is not None:
            check_length("labels", self.classes.labels, num_items)
            check_length("confusion.T", self.classes.confusion.T, num_clusters)
        if self.prototype_maps is not None:
            check_range("prototype_maps", self.prototype_maps.indices, num_items)
            check_range("prototype_maps", self.prototype_maps.clusters, num_clusters)
        if self.unusual is not None:
            check_length("groups", self.unusual.groups, num_items)
            check_length("scores", self.unusual.scores, num_items)

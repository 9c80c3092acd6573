"""One card per cluster: its figures, its prototypes and its least certain members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spice_keras.report.content import ReportData
from spice_keras.report.formatting import count, percent, percent_shares, shortened_middle
from spice_keras.report.palette import cluster_colors
from spice_keras.report.thumbnails import ThumbnailPlan, affordable_plans, thumbnail

MAX_ID_CHARACTERS = 40


@dataclass(frozen=True)
class Member:
    """One item of a card: its name, its confidence and, where there is one, its image.

    Attributes:
        source: the image as a data URI; None in a run without images.
        id: the whole name.
        confidence: largest cluster probability, as text.
    """

    source: str | None
    id: str
    confidence: str

    @property
    def short_id(self) -> str:
        """The name, cut in the middle where it is long."""
        return shortened_middle(self.id, MAX_ID_CHARACTERS)

    @property
    def num_characters(self) -> int:
        """What the member costs on the page: its image, else its name, short and twice in full."""
        return 2 * len(self.id) + MAX_ID_CHARACTERS if self.source is None else len(self.source)


@dataclass(frozen=True)
class ClusterCard:
    """What the report shows of one cluster."""

    cluster: int
    color: str
    size: int
    share: str
    facts: tuple[tuple[str, str], ...]
    prototypes: tuple[Member, ...]
    least_certain: tuple[Member, ...]

    @property
    def has_more_names(self) -> bool:
        """Whether a member is shown with less than its whole name: an image, or a cut name."""
        members = (*self.prototypes, *self.least_certain)
        return any(member.source is not None or member.short_id != member.id for member in members)


Gallery = dict[int, tuple[Member, ...]]


def cluster_cards(data: ReportData, max_characters: int) -> list[ClusterCard]:
    """Makes the cards of all clusters within a budget.

    Args:
        data: the run; only the images that are shown are read.
        max_characters: upper limit for all thumbnails together, or for all names. Plans are tried
            from the richest down; the most modest one is taken whatever it costs.

    Returns:
        One card per cluster, empty clusters included, in the order of the clusters.
    """
    prototypes, least_certain = _affordable_galleries(data, max_characters)
    sizes = data.cluster_sizes
    shares, colors = percent_shares(sizes.tolist()), cluster_colors(data.num_clusters)
    facts = _facts(data)
    return [
        ClusterCard(
            cluster=cluster,
            color=colors[cluster],
            size=int(sizes[cluster]),
            share=shares[cluster],
            facts=facts[cluster],
            prototypes=prototypes[cluster],
            least_certain=least_certain[cluster],
        )
        for cluster in range(data.num_clusters)
    ]


def _affordable_galleries(data: ReportData, max_characters: int) -> tuple[Gallery, Gallery]:
    """Gathers the members by the richest plan whose total stays within the limit."""
    *richer, modest = affordable_plans(data.num_clusters)
    for plan in richer:
        galleries = _galleries(data, plan)
        members = (member for gallery in galleries for row in gallery.values() for member in row)
        if sum(member.num_characters for member in members) <= max_characters:
            return galleries
    return _galleries(data, modest)


def _galleries(data: ReportData, plan: ThumbnailPlan) -> tuple[Gallery, Gallery]:
    """Gathers the members shown of every cluster by one plan: prototypes, least certain."""
    return (
        _gallery(data, data.prototypes, plan, plan.prototypes),
        _gallery(data, data.least_certain, plan, plan.least_certain),
    )


def _gallery(
    data: ReportData,
    chosen: Mapping[int, npt.NDArray[np.integer[Any]]],
    plan: ThumbnailPlan,
    limit: int,
) -> Gallery:
    return {
        cluster: tuple(
            Member(
                source=None if data.images is None else thumbnail(data.images[int(index)], plan),
                id=str(data.ids[int(index)]),
                confidence=percent(data.confidence[int(index)], 0),
            )
            for index in chosen.get(cluster, ())[:limit]
        )
        for cluster in range(data.num_clusters)
    }


def _facts(data: ReportData) -> list[tuple[tuple[str, str], ...]]:
    """Writes the figures of every cluster; an empty cluster has none."""
    return [
        _cluster_facts(data, cluster, np.flatnonzero(data.clusters == cluster))
        for cluster in range(data.num_clusters)
    ]


def _cluster_facts(
    data: ReportData, cluster: int, members: npt.NDArray[np.intp]
) -> tuple[tuple[str, str], ...]:
    """Writes the figures of one cluster as pairs of name and value."""
    if not len(members):
        return ()
    confidence = np.asarray(data.confidence[members], dtype=np.float64)
    known = confidence[np.isfinite(confidence)]
    reliable = int(np.count_nonzero(data.reliable[members]))
    facts = [
        ("Reliable", f"{count(reliable)} ({percent(reliable / len(members))})"),
        ("Mean confidence", percent(known.mean() if len(known) else None)),
        ("Agree with their neighbours", percent(np.mean(data.agrees[members]))),
    ]
    return (*facts, *_class_facts(data, cluster))


def _class_facts(data: ReportData, cluster: int) -> tuple[tuple[str, str], ...]:
    """Names the matched and the largest class of a cluster; nothing without labels."""
    if data.confusion is None or not data.confusion[:, cluster].sum():
        return ()
    counts = np.asarray(data.confusion[:, cluster], dtype=np.int64)
    largest = int(counts.argmax())
    share = percent(counts[largest] / counts.sum())
    matched = None if data.matching is None else data.matching.get(cluster)
    if matched == largest:
        return (
            ("Matched class", f"{class_name(data, largest)} \N{MIDDLE DOT} {share} of the members"),
        )
    name = "none" if matched is None else class_name(data, matched)
    facts = (
        ("Largest class", f"{class_name(data, largest)} \N{MIDDLE DOT} {share} of the members"),
    )
    return facts if data.matching is None else (("Matched class", name), *facts)


def class_name(data: ReportData, index: int) -> str:
    """Name of a class, its number where the classes have no names."""
    return str(index) if data.class_names is None else str(data.class_names[index])

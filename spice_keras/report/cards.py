"""One card for each cluster: its figures, its prototypes and its least certain members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spice_keras.report.advice import Advice, cluster_advice
from spice_keras.report.classes import Classes
from spice_keras.report.clustering import Clustering, Items
from spice_keras.report.formatting import count, percent, percent_shares, shortened_middle
from spice_keras.report.palette import SHAPES, cluster_colors, marker
from spice_keras.report.thumbnails import ThumbnailPlan, affordable_plans, thumbnail

MAX_ID_CHARACTERS = 40


@dataclass(frozen=True)
class Member:
    """One item of a card: its name, its confidence and, if it has one, its image.

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
    """What the report shows of one cluster.

    Attributes:
        cluster: its number.
        name: what it is called; None without a name.
        color: as in the maps, "#rrggbb".
        shape: as in the maps, an SVG path in a square of 16.
        size: number of members.
        share: of all items, as text.
        facts: figures, as pairs of name and value.
        advice: badge and sentence; None where nothing was measured.
        doubt: what the cards are sorted by if the worst come first.
        prototypes: members nearest to the centre.
        least_certain: members of lowest confidence.
    """

    cluster: int
    name: str | None
    color: str
    shape: str
    size: int
    share: str
    facts: tuple[tuple[str, str], ...]
    advice: Advice | None
    doubt: float
    prototypes: tuple[Member, ...]
    least_certain: tuple[Member, ...]

    @property
    def has_more_names(self) -> bool:
        """Whether a member is shown with less than its whole name: an image, or a cut name."""
        members = (*self.prototypes, *self.least_certain)
        return any(member.source is not None or member.short_id != member.id for member in members)


Gallery = dict[int, tuple[Member, ...]]
Facts = tuple[tuple[str, str], ...]


def cluster_cards(
    items: Items, clustering: Clustering, classes: Classes | None, max_characters: int
) -> list[ClusterCard]:
    """Makes the cards of all clusters within a budget.

    Args:
        items: what was clustered; only the images that are shown are read.
        clustering: the clusters.
        classes: the labels; None without.
        max_characters: upper limit for all thumbnails together, or for all names. Plans are tried
            from the richest down; the most modest one is taken whatever it costs.

    Returns:
        One card per cluster, empty clusters included, in the order of the clusters.
    """
    prototypes, least_certain = _affordable_galleries(items, clustering, max_characters)
    shares = percent_shares(clustering.sizes.tolist())
    advice = [
        cluster_advice(cluster, clustering, items.noun)
        for cluster in range(clustering.num_clusters)
    ]
    return [
        ClusterCard(
            cluster=cluster,
            name=clustering.name_of(cluster),
            color=color,
            shape=SHAPES[marker(cluster)],
            size=int(clustering.sizes[cluster]),
            share=shares[cluster],
            facts=_facts(cluster, clustering, classes),
            advice=advice[cluster],
            doubt=cluster_doubt(cluster, clustering, advice[cluster]),
            prototypes=prototypes[cluster],
            least_certain=least_certain[cluster],
        )
        for cluster, color in enumerate(cluster_colors(clustering.num_clusters))
    ]


def cluster_doubt(cluster: int, clustering: Clustering, advice: Advice | None) -> float:
    """Says how much speaks against a cluster, to sort by.

    Args:
        cluster: its number.
        clustering: the clusters.
        advice: what the report says of it.

    Returns:
        3 for an empty one; else 0, 1 or 2 for its badge, .5 more if something is to be done, and
        the share of its neighbours that are elsewhere. Where that was not measured, the share of
        members whose neighbours disagree.
    """
    members = clustering.clusters == cluster
    if not members.any():
        return 3.0
    if advice is None or clustering.links is None:
        return round(1.0 - float(np.mean(clustering.agrees[members])), 4)
    doubt = 1.0 - float(clustering.links.kept[cluster])
    doubt += {"tight": 0.0, "mixed": 1.0, "loose": 2.0}[advice.badge]
    return round(doubt + 0.5 * (advice.action != "none"), 4)


def _affordable_galleries(
    items: Items, clustering: Clustering, max_characters: int
) -> tuple[Gallery, Gallery]:
    """Gathers the members by the richest plan whose total stays within the limit."""
    *richer, modest = affordable_plans(clustering.num_clusters)
    for plan in richer:
        galleries = _galleries(items, clustering, plan)
        members = (member for gallery in galleries for row in gallery.values() for member in row)
        if sum(member.num_characters for member in members) <= max_characters:
            return galleries
    return _galleries(items, clustering, modest)


def _galleries(
    items: Items, clustering: Clustering, plan: ThumbnailPlan
) -> tuple[Gallery, Gallery]:
    """Gathers the members shown of every cluster by one plan: prototypes, least certain."""

    def member(index: int) -> Member:
        return Member(
            source=None if items.images is None else thumbnail(items.images[index], plan),
            id=str(items.ids[index]),
            confidence=percent(clustering.confidence[index], 0),
        )

    def gallery(chosen: Mapping[int, npt.NDArray[np.integer[Any]]], limit: int) -> Gallery:
        return {
            cluster: tuple(member(int(index)) for index in chosen.get(cluster, ())[:limit])
            for cluster in range(clustering.num_clusters)
        }

    return (
        gallery(clustering.prototypes, plan.prototypes),
        gallery(clustering.least_certain, plan.least_certain),
    )


def _facts(cluster: int, clustering: Clustering, classes: Classes | None) -> Facts:
    """Writes the figures of one cluster as pairs of name and value; an empty one has none."""
    members = np.flatnonzero(clustering.clusters == cluster)
    if not len(members):
        return ()
    confidence = np.asarray(clustering.confidence[members], dtype=np.float64)
    known = confidence[np.isfinite(confidence)]
    reliable = int(clustering.reliable_members[cluster])
    facts = (
        *_word_facts(cluster, clustering),
        ("Reliable", f"{count(reliable)} ({percent(reliable / len(members))})"),
        ("Mean confidence", percent(known.mean() if len(known) else None)),
        ("Agree with their neighbours", percent(np.mean(clustering.agrees[members]))),
    )
    return facts if classes is None else (*facts, *_class_facts(cluster, classes))


def _word_facts(cluster: int, clustering: Clustering) -> Facts:
    """Lists the words that set a cluster apart, or says why it has no name."""
    if not clustering.cluster_names or clustering.words_from is None:
        return ()
    found = clustering.cluster_names[cluster]
    if found.name is None:
        return (("No name", found.reason),)
    return (("Words", ", ".join(f"{word} {score:.2f}" for word, score in found.words)),)


def _class_facts(cluster: int, classes: Classes) -> Facts:
    """Names the matched and the largest class of a cluster; nothing if no label is known."""
    counts = np.asarray(classes.confusion[:, cluster], dtype=np.int64)
    if not counts.sum():
        return ()
    largest, matched = int(counts.argmax()), classes.matching.get(cluster)
    share = percent(counts[largest] / counts.sum())
    held = f"{classes.names[largest]} \N{MIDDLE DOT} {share} of the members"
    if matched == largest:
        return (("Matched class", held),)
    name = "none" if matched is None else str(classes.names[matched])
    return (("Matched class", name), ("Largest class", held))

"""Near-duplicates and outliers: what the report shows of them, and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spice_keras.report.cards import Member
from spice_keras.report.clustering import Clustering, Items, Noun
from spice_keras.report.formatting import decimal, quantity
from spice_keras.report.thumbnails import ThumbnailPlan, thumbnail

MAX_GROUPS, MAX_IN_GROUP, MAX_OUTLIERS = 8, 6, 18
_PLAN = ThumbnailPlan(prototypes=0, least_certain=0, side=72, quality=74)


@dataclass(frozen=True, eq=False)
class Unusual:
    """Which items are almost the same, and which are unlike all others; N items.

    Attributes:
        groups: [N] group of near-duplicates of each item, -1 where it has none.
        scores: [N] how unlike all others each item is.
        outlier_score: from here on an item is an outlier.
    """

    groups: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    outlier_score: float

    @property
    def outliers(self) -> npt.NDArray[np.int64]:
        """The outliers, the least like the others first."""
        found = np.flatnonzero(self.scores >= self.outlier_score)
        return found[np.argsort(-self.scores[found], kind="stable")]

    @property
    def num_groups(self) -> int:
        """Number of groups of near-duplicates."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def num_grouped(self) -> int:
        """Number of items in a group."""
        return int((self.groups >= 0).sum())


@dataclass(frozen=True)
class DuplicateGroup:
    """One group of near-duplicates on the page.

    Attributes:
        number: of the group, as in duplicates.csv.
        members: those shown.
        text: its size, and its clusters if there are several.
    """

    number: int
    members: tuple[Member, ...]
    text: str


@dataclass(frozen=True)
class UnusualView:
    """What the page shows of them.

    Attributes:
        duplicates_text: what near-duplicates are, how many there are and what to do.
        groups: the largest groups.
        outliers_text: the same of outliers.
        outliers: the least like the others, each with its score in place of a confidence.
    """

    duplicates_text: str
    groups: tuple[DuplicateGroup, ...]
    outliers_text: str
    outliers: tuple[Member, ...]

    @property
    def num_characters(self) -> int:
        """What its images or names cost on the page."""
        shown = [member for group in self.groups for member in group.members]
        return sum(member.num_characters for member in (*shown, *self.outliers))


def unusual_view(unusual: Unusual, items: Items, clustering: Clustering) -> UnusualView:
    """Chooses what the page shows, and words it.

    Args:
        unusual: the groups and scores.
        items: what was clustered; only the images that are shown are read.
        clustering: their clusters.

    Returns:
        At most `MAX_GROUPS` groups and `MAX_OUTLIERS` outliers.
    """
    sizes = np.bincount(unusual.groups[unusual.groups >= 0], minlength=unusual.num_groups)
    largest = np.argsort(-sizes, kind="stable")[:MAX_GROUPS].tolist()

    def member(index: int, value: str) -> Member:
        source = None if items.images is None else thumbnail(items.images[index], _PLAN)
        return Member(source, str(items.ids[index]), value)

    def group(number: int) -> DuplicateGroup:
        rows = np.flatnonzero(unusual.groups == number)
        clusters = np.unique(clustering.clusters[rows]).tolist()
        shown = tuple(
            member(row, f"cluster {clustering.clusters[row]}")
            for row in rows[:MAX_IN_GROUP].tolist()
        )
        where = ", ".join(map(clustering.title_of, clusters))
        return DuplicateGroup(number, shown, _group_text(len(rows), where, clusters, items.noun))

    return UnusualView(
        _duplicates_text(unusual, items.noun),
        tuple(group(number) for number in largest),
        _outliers_text(unusual, items.noun),
        tuple(
            member(row, decimal(unusual.scores[row], 1))
            for row in unusual.outliers[:MAX_OUTLIERS].tolist()
        ),
    )


def _group_text(size: int, where: str, clusters: list[Any], noun: Noun) -> str:
    text = f"{quantity(size, noun)}, {where}"
    return text if len(clusters) == 1 else f"{text}: almost the same, yet apart"


def _duplicates_text(unusual: Unusual, noun: Noun) -> str:
    if not unusual.num_groups:
        return f"No near-duplicates were found: no two {noun}s are almost the same."
    rule = (
        "Two images count as near-duplicates if their embeddings are at least as close as those "
        "of usual neighbours and their small grey copies are ten times as close."
        if noun == "image"
        else "Two items count as near-duplicates if their embeddings are ten times as close as "
        "those of usual neighbours."
    )
    shown = (
        f" The {MAX_GROUPS} largest groups are shown." if unusual.num_groups > MAX_GROUPS else ""
    )
    return (
        f"{quantity(unusual.num_grouped, noun)} form "
        f"{quantity(unusual.num_groups, 'group')} of near-duplicates. {rule} They make a cluster "
        "look larger than it is. If sizes matter to you, keep one of each group and cluster again; "
        f"duplicates.csv lists them all.{shown}"
    )


def _outliers_text(unusual: Unusual, noun: Noun) -> str:
    found = len(unusual.outliers)
    if not found:
        return f"No outliers were found: no {noun} is far from all others."
    shown = f" The first {MAX_OUTLIERS} are shown." if found > MAX_OUTLIERS else ""
    return (
        f"{quantity(found, noun)} {'lies' if found == 1 else 'lie'} far from all others. The score "
        f"says how far away the tenth neighbour of an {noun} is, beside what is usual, in "
        f"standard deviations; from {decimal(unusual.outlier_score, 1)} on it is an outlier. Look "
        f"at them: an outlier is in some cluster only because it has to be. Remove what does not "
        f"belong to your data. outliers.csv lists {'it' if found == 1 else 'them all'}.{shown}"
    )


def unusual_figures(unusual: Unusual) -> dict[str, Any]:
    """States the counts for metrics.json.

    Args:
        unusual: the groups and scores.

    Returns:
        `near_duplicates` with `groups` and `items`, and `outliers`.
    """
    return {
        "near_duplicates": {"groups": unusual.num_groups, "items": unusual.num_grouped},
        "outliers": len(unusual.outliers),
    }

"""A badge for each cluster, and one sentence on what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from spice_keras.report.clustering import Clustering, Noun
from spice_keras.report.formatting import percent

Badge = Literal["tight", "mixed", "loose"]
Action = Literal["split", "merge", "look", "none"]

# Conventions of this report, not fitted to labels; the sentences state the figures.
TIGHT, LOOSE = 0.85, 0.60
"""A cluster is tight if at least this share of its members' neighbours stay, loose below."""
MERGE, STABLE, HEADS_SPLIT = 0.15, 0.60, 0.50


@dataclass(frozen=True)
class Advice:
    """What the report says of a cluster before its figures.

    Attributes:
        badge: how well it holds together.
        sentence: what to do, and why.
        action: what the sentence suggests.
        other: the cluster it may be merged with; None for other actions.
    """

    badge: Badge
    sentence: str
    action: Action = "none"
    other: int | None = None


def cluster_advice(cluster: int, clustering: Clustering, noun: Noun) -> Advice | None:
    """Judges one cluster by its neighbours and by the other heads.

    Args:
        cluster: its number.
        clustering: the clusters, with their links.
        noun: what one item is called.

    Returns:
        The advice; None for an empty cluster, and where the links were not measured.
    """
    links = clustering.links
    if links is None or not np.isfinite(links.kept[cluster]):
        return None
    kept, mixed = float(links.kept[cluster]), float(links.mixed_share[cluster])
    badge: Badge = "tight" if kept >= TIGHT else "loose" if kept < LOOSE else "mixed"
    stability, split = float(links.stability[cluster]), float(links.split_share[cluster])
    if split >= HEADS_SPLIT and stability < STABLE:
        return Advice(
            badge,
            f"Perhaps two groups: {percent(split, 0)} of the other heads put at least a quarter of "
            f"its {noun}s into a second cluster. Look whether it should be split.",
            "split",
        )
    if mixed >= MERGE:
        return Advice(
            badge,
            f"Mixes with {clustering.title_of(int(links.mixes_with[cluster]))}, which holds "
            f"{percent(mixed, 0)} of its neighbours. Compare the two: they may be one group, or "
            "the border may lie elsewhere.",
            "merge",
            int(links.mixes_with[cluster]),
        )
    doubt = _doubt(badge, kept, stability, noun)
    if doubt is not None:
        return Advice(badge, doubt, "look")
    return Advice(badge, "Nothing speaks against it; its least certain members are worth a look.")


def _doubt(badge: Badge, kept: float, stability: float, noun: Noun) -> str | None:
    """Why a cluster that is neither split nor mixed with one other should be looked at."""
    if np.isfinite(stability) and stability < STABLE:
        return (
            "The other heads draw it differently. Look at its least certain members before you "
            "use it."
        )
    if badge == "loose":
        return f"Its {noun}s have few neighbours in it, in no one direction. Look at them."
    if badge == "mixed":
        return (
            f"{percent(1 - kept, 0)} of its neighbours are elsewhere, in no one cluster. Look at "
            "its least certain members."
        )
    return None

"""How far to trust a clustering, in plain words and with every threshold stated.

The bands below are conventions of this report. They were set by judgement, not fitted to labelled
data, so a sentence always prints the figure and its band, and the reader can disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spice_keras.report.content import Item, final_method
from spice_keras.report.formatting import count, decimal, finite, percent, quantity
from spice_keras.report.table import METHOD_NAMES

Grade = Literal["strong", "mixed", "weak"]
Level = Literal["strong", "mixed", "weak", "unknown"]


@dataclass(frozen=True)
class Band:
    """Strong from `strong` upwards, weak below `weak`, mixed between the two."""

    strong: float
    weak: float

    def grade(self, value: float) -> Grade:
        """Places a figure in the band."""
        if value >= self.strong:
            return "strong"
        return "weak" if value < self.weak else "mixed"


ACCURACY = Band(strong=0.90, weak=0.60)
LOCAL_CONSISTENCY = Band(strong=0.85, weak=0.60)
HEAD_AGREEMENT = Band(strong=0.80, weak=0.50)
RELIABLE_SHARE = Band(strong=0.50, weak=0.10)
SMALLEST_CLUSTER = Band(strong=0.20, weak=0.02)
ACCURACY_GAIN = Band(strong=0.01, weak=0.0)
CONSISTENCY_GAIN = Band(strong=0.0, weak=-0.02)

HEADLINES: Mapping[Level, str] = {
    "strong": "Every sign measured here is good: none of them speaks against these clusters.",
    "mixed": "The signs are mixed: look at the flagged points before using the clusters.",
    "weak": "Important signs are poor: do not use these clusters without checking their members.",
    "unknown": "Too few figures were measured to say how far to trust these clusters.",
}

CAVEAT = (
    "Figures measured without labels only say whether the clusters are stable and hold together in "
    "the embeddings they were made from. They cannot say whether the clusters are the categories "
    "you have in mind: for that, look at the members of each cluster."
)


@dataclass(frozen=True)
class Check:
    """One figure, its grade and what it means; `essential` checks can sink the verdict alone."""

    name: str
    value: str
    grade: Grade
    sentence: str
    essential: bool = False


@dataclass(frozen=True)
class Verdict:
    """The level of trust with the sentences that explain it."""

    level: Level
    headline: str
    checks: tuple[Check, ...]
    caveat: str = CAVEAT

    @property
    def sentences(self) -> tuple[str, ...]:
        """Headline, one sentence per check, caveat."""
        return (self.headline, *(check.sentence for check in self.checks), self.caveat)


def trust_verdict(
    metrics: Mapping[str, Any],
    *,
    cluster_sizes: Sequence[int],
    num_reliable: int,
    reliable_counts: Sequence[int],
    item: Item = "image",
) -> Verdict:
    """Judges a clustering by what was measured on it.

    The level is "weak" where an essential check (accuracy, local consistency) is weak or two
    checks are, "strong" where every check is strong and local consistency is among them,
    "unknown" where local consistency and accuracy are both missing, and "mixed" otherwise.

    Args:
        metrics: figures per method, as in `ReportData.metrics`.
        cluster_sizes: [K] number of items in each final cluster.
        num_reliable: number of items that passed the reliability thresholds.
        reliable_counts: [K] reliable pseudo-labels per cluster.
        item: what the sentences call one of what was clustered.

    Returns:
        The verdict; a figure that is missing has no check.
    """
    method = final_method(metrics)
    final = metrics[method] if method else {}
    heads = (metrics.get("self") or {}).get("head_agreement")
    candidates = (
        accuracy_check(final, item),
        local_consistency_check(final, cluster_sizes, item),
        head_agreement_check(heads),
        reliable_check(num_reliable, int(np.sum(cluster_sizes)), reliable_counts, item),
        cluster_size_check(cluster_sizes, item),
        baseline_check(final, metrics),
    )
    checks = tuple(check for check in candidates if check is not None)
    level = _level(checks)
    return Verdict(level, HEADLINES[level], checks)


def accuracy_check(final: Mapping[str, Any], item: Item = "image") -> Check | None:
    """Share of the items whose cluster is matched to their class; None without labels."""
    value = finite(final.get("acc"))
    if value is None:
        return None
    sentence = (
        f"With each cluster matched to one class, {percent(value)} of the labelled {item}s are "
        f"in the right one (strong from {percent(ACCURACY.strong, 0)}, weak below "
        f"{percent(ACCURACY.weak, 0)}). The labels were used for this measurement only."
    )
    return Check("Accuracy", percent(value), ACCURACY.grade(value), sentence, essential=True)


def local_consistency_check(
    final: Mapping[str, Any], cluster_sizes: Sequence[int], item: Item = "image"
) -> Check | None:
    """Share of the nearest neighbours in the same cluster, corrected for chance.

    One cluster that holds everything has a share of 1; the correction takes that away.
    """
    value = finite(final.get("local_consistency"))
    total = int(np.sum(cluster_sizes))
    if value is None or total == 0:
        return None
    chance = float(np.sum(np.square(np.asarray(cluster_sizes, dtype=np.float64) / total)))
    corrected = (value - chance) / (1 - chance) if chance < 1 else 0.0
    sentence = (
        f"On average {percent(value)} of an {item}'s nearest neighbours share its cluster; "
        f"clusters of these sizes drawn at random would give {percent(chance)}. Corrected for "
        f"chance that is {decimal(corrected, 2)} (strong from {LOCAL_CONSISTENCY.strong:.2f}, weak "
        f"below {LOCAL_CONSISTENCY.weak:.2f})."
    )
    grade = LOCAL_CONSISTENCY.grade(corrected)
    return Check("Local consistency", percent(value), grade, sentence, essential=True)


def head_agreement_check(value: object) -> Check | None:
    """Mean adjusted Rand index between the heads of SPICE-Self, each started differently."""
    agreement = finite(value)
    if agreement is None:
        return None
    sentence = (
        f"Clustering heads started from different random weights agree with each other to "
        f"{decimal(agreement, 2)} (mean adjusted Rand index of all pairs: 1 is identical, 0 is "
        f"chance; strong from {HEAD_AGREEMENT.strong:.2f}, weak below {HEAD_AGREEMENT.weak:.2f})."
    )
    grade = HEAD_AGREEMENT.grade(agreement)
    return Check("Head agreement", decimal(agreement, 2), grade, sentence)


def reliable_name(item: Item) -> str:
    """Name of the check of the reliable items."""
    return f"Reliable {item}s"


def reliable_check(
    num_reliable: int, num_items: int, reliable_counts: Sequence[int], item: Item = "image"
) -> Check | None:
    """Share of the items that passed the reliability thresholds."""
    if num_items == 0:
        return None
    share = num_reliable / num_items
    without = [cluster for cluster, number in enumerate(reliable_counts) if number == 0]
    grade = RELIABLE_SHARE.grade(share)
    sentence = (
        f"{count(num_reliable)} of {quantity(num_items, item)} ({percent(share)}) passed the "
        f"reliability thresholds (strong from {percent(RELIABLE_SHARE.strong, 0)}, weak below "
        f"{percent(RELIABLE_SHARE.weak, 0)}; the share depends on the thresholds listed below)."
    )
    if without:
        grade = "weak" if grade == "weak" else "mixed"
        sentence += f" Without a single reliable {item}: {_cluster_list(without)}."
    return Check(reliable_name(item), percent(share), grade, sentence)


def cluster_size_check(cluster_sizes: Sequence[int], item: Item = "image") -> Check | None:
    """Smallest cluster against an equal share; an empty cluster is always weak."""
    sizes = np.asarray(cluster_sizes, dtype=np.int64)
    if sizes.sum() == 0:
        return None
    empty = [int(cluster) for cluster in np.flatnonzero(sizes == 0)]
    if empty:
        sentence = (
            f"{quantity(len(empty), 'cluster')} of {len(sizes)} received no {item} "
            f"({_cluster_list(empty)}): the number of clusters may be larger than the {item}s "
            "support."
        )
        return Check("Cluster sizes", f"{len(empty)} empty", "weak", sentence)
    smallest, equal = int(sizes.argmin()), sizes.sum() / len(sizes)
    ratio = float(sizes[smallest] / equal)
    sentence = (
        f"No cluster is empty. The smallest, cluster {smallest}, has "
        f"{quantity(int(sizes[smallest]), item)}: {percent(ratio, 0)} of an equal share of "
        f"{decimal(equal, 1)} (strong from {percent(SMALLEST_CLUSTER.strong, 0)}, weak below "
        f"{percent(SMALLEST_CLUSTER.weak, 0)}). SPICE assumes clusters of similar size."
    )
    value = f"smallest {count(sizes[smallest])}"
    return Check("Cluster sizes", value, SMALLEST_CLUSTER.grade(ratio), sentence)


def baseline_check(final: Mapping[str, Any], metrics: Mapping[str, Any]) -> Check | None:
    """Gain over k-means: in accuracy with labels, in local consistency without."""
    embeddings = metrics.get("kmeans_embeddings") or {}
    accuracies = _baseline_accuracies(metrics)
    accuracy = finite(final.get("acc"))
    if accuracy is not None and accuracies:
        gain = accuracy - max(accuracies.values())
        better = "the better " if len(accuracies) > 1 else ""
        measured = ", ".join(f"{name}: {percent(value)}" for name, value in accuracies.items())
        sentence = (
            f"Against {better}k-means the accuracy differs by {100 * gain:+.1f} points "
            f"({measured}; strong from {100 * ACCURACY_GAIN.strong:+.0f}, weak below 0)."
        )
        return Check("Against k-means", _points(gain), ACCURACY_GAIN.grade(gain), sentence)
    ours, theirs = (finite(row.get("local_consistency")) for row in (final, embeddings))
    if ours is None or theirs is None:
        return None
    gain = ours - theirs
    sentence = (
        f"The local consistency of k-means on the same embeddings is {percent(theirs)}, a "
        f"difference of {100 * gain:+.1f} points (strong from 0, weak below "
        f"{100 * CONSISTENCY_GAIN.weak:.0f}). Without labels this cannot tell which of the two "
        "is right."
    )
    return Check("Against k-means", _points(gain), CONSISTENCY_GAIN.grade(gain), sentence)


def _baseline_accuracies(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy of each k-means that was measured against labels, by its name."""
    found = {
        METHOD_NAMES[method]: finite((metrics.get(method) or {}).get("acc"))
        for method in ("kmeans_embeddings", "kmeans_pixels")
    }
    return {name: value for name, value in found.items() if value is not None}


def _level(checks: Sequence[Check]) -> Level:
    """Weighs the checks; `trust_verdict` states the rule."""
    if not any(check.essential for check in checks):
        return "unknown"
    weak = [check for check in checks if check.grade == "weak"]
    if len(weak) >= 2 or any(check.essential for check in weak):
        return "weak"
    names = {check.name for check in checks}
    if "Local consistency" in names and all(check.grade == "strong" for check in checks):
        return "strong"
    return "mixed"


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f} points"


def _cluster_list(clusters: Sequence[int], limit: int = 12) -> str:
    """Names clusters in a sentence, the first `limit` of them."""
    noun = "cluster" if len(clusters) == 1 else "clusters"
    rest = f" and {len(clusters) - limit} more" if len(clusters) > limit else ""
    return f"{noun} {', '.join(map(str, clusters[:limit]))}{rest}"

"""How far to trust a clustering, in plain words and with every threshold stated.

The bands below are conventions of this report, set by judgement, so each sentence states the figure
and its band, and the reader can disagree. The expected accuracy was fitted: see
`metrics.expected_accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spice_keras.metrics.expected_accuracy import fitted_on, too_high_with_fewer_clusters
from spice_keras.options import fewest_items, neighbors_tell
from spice_keras.report.clustering import Clustering, Noun, collapsed
from spice_keras.report.formatting import cluster_list, count, decimal, finite, percent, quantity
from spice_keras.report.setup import STARTS, HeadSetup
from spice_keras.report.table import METHOD_NAMES, final_method

Grade = Literal["strong", "mixed", "weak"]
Level = Literal["strong", "mixed", "weak", "unknown"]


@dataclass(frozen=True)
class Band:
    """Strong from `strong` upwards, weak below `weak`, mixed in between."""

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
EXPECTED = Band(strong=0.85, weak=0.55)
RELIABLE_SHARE = Band(strong=0.50, weak=0.10)
SMALLEST_CLUSTER = Band(strong=0.20, weak=0.02)
ACCURACY_GAIN = Band(strong=0.01, weak=0.0)
CONSISTENCY_GAIN = Band(strong=0.0, weak=-0.02)

HEADLINES: Mapping[Level, str] = {
    "strong": "Every sign measured here is good: nothing speaks against these clusters.",
    "mixed": "The signs are mixed: look at the flagged points before you use the clusters.",
    "weak": "Important signs are poor: do not use these clusters without checking their members.",
    "unknown": "Too few figures were measured to say how far to trust these clusters.",
}
TOO_FEW = (
    "How far to trust these clusters cannot be told: {items} in {clusters} are too few. What "
    "neighbours say counts from four {noun}s a cluster on, {fewest} here."
)
COLLAPSED = "The clustering collapsed: every {noun} is in one cluster, so no groups were found."

CAVEAT = (
    "Figures measured without labels say only whether the clusters are stable and hold together in "
    "the embeddings they were made from. They cannot say whether the clusters are the categories "
    "you have in mind. To find out, look at the members of each cluster."
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
    clustering: Clustering,
    reliable_counts: Sequence[int],
    heads: HeadSetup,
    noun: Noun = "image",
) -> Verdict:
    """Judges a clustering by what was measured on it.

    The level is "weak" if an essential check (accuracy, expected accuracy, local consistency, a
    collapse) is weak or
    two checks are, "strong" if every check is strong and local consistency is among them,
    "unknown" if local consistency and accuracy are both missing, and "mixed" otherwise. With fewer
    than four items a cluster, nothing is read from neighbours.

    Args:
        metrics: figures per method, as in `ReportData.metrics`.
        clustering: the final clusters.
        reliable_counts: [K] reliable labels in each cluster of SPICE-Self.
        heads: how the clustering heads were trained.
        noun: what the sentences call one item.

    Returns:
        The verdict; a figure that is missing, or says nothing, has no check.
    """
    method = final_method(metrics)
    final = metrics[method] if method else {}
    sizes, num_reliable = clustering.sizes.tolist(), int(np.count_nonzero(clustering.reliable))
    accuracy, tell = accuracy_check(final, noun), neighbors_tell(sum(sizes), len(sizes))
    # Where it was measured, nobody needs to expect it.
    expected = expected_accuracy_check(metrics, noun) if accuracy is None and tell else None
    least = least_accuracy_check(metrics, noun) if accuracy is None and tell else None
    candidates = (
        accuracy,
        expected,
        least,
        local_consistency_check(final, sizes) if tell else None,
        head_agreement_check(metrics.get("self") or {}, heads),
        reliable_check(num_reliable, sizes, reliable_counts, noun) if tell else None,
        cluster_size_check(sizes, noun, clustering.title_of),
        baseline_check(final, metrics) if tell or accuracy is not None else None,
    )
    checks = tuple(check for check in candidates if check is not None)
    level = _level(checks)
    headline = COLLAPSED.format(noun=noun) if clustering.is_collapsed else HEADLINES[level]
    if level == "unknown" and not tell:
        headline = TOO_FEW.format(
            items=quantity(sum(sizes), noun),
            clusters=quantity(len(sizes), "cluster"),
            noun=noun,
            fewest=fewest_items(len(sizes)),
        )
    if expected is not None and not clustering.is_collapsed:
        headline = f"Expected accuracy about {expected.value}. {headline}"
    if least is not None and not clustering.is_collapsed:
        headline = f"Accuracy probably {least.value}. {headline}"
    return Verdict(level, headline, checks)


def accuracy_check(final: Mapping[str, Any], noun: Noun = "image") -> Check | None:
    """Share of the items whose cluster is matched with their class; None without labels."""
    value = finite(final.get("acc"))
    if value is None:
        return None
    sentence = (
        f"With each cluster matched to one class, {percent(value)} of the labelled {noun}s are in "
        f"the right class (strong from {percent(ACCURACY.strong, 0)}, weak below "
        f"{percent(ACCURACY.weak, 0)})."
    )
    return Check("Accuracy", percent(value), ACCURACY.grade(value), sentence, essential=True)


def expected_accuracy_check(metrics: Mapping[str, Any], noun: Noun = "image") -> Check | None:
    """Accuracy that clusterings with such figures had; None where that was not worked out.

    Args:
        metrics: figures of the run, `expected_accuracy` among them.
        noun: what one item is called.

    Returns:
        The check; it can sink the verdict alone.
    """
    found = metrics.get("expected_accuracy")
    if not found:
        return None
    value, low, high = (float(found[key]) for key in ("acc", "low", "high"))
    count_of, sets = fitted_on()
    text = f"{decimal(value, 2)} ({decimal(low, 2)}\N{EN DASH}{decimal(high, 2)})"
    sentence = (
        f"On {sets} sets with labels, {count(count_of)} clusterings were made, with the right "
        "number of clusters and with wrong ones. Those with figures like this one's put about "
        f"{percent(value, 0)} of the {noun}s into the right class; four in five lay between "
        f"{percent(low, 0)} and {percent(high, 0)} (strong from {percent(EXPECTED.strong, 0)}, "
        f"weak below {percent(EXPECTED.weak, 0)}). The classes were those that people had given "
        "names to; yours may be others. With fewer clusters than classes it was too high, by "
        f"{decimal(too_high_with_fewer_clusters(), 2)} on average: several classes in one cluster "
        "can look like one."
    )
    return Check("Expected accuracy", text, EXPECTED.grade(value), sentence, essential=True)


def least_accuracy_check(metrics: Mapping[str, Any], noun: Noun = "image") -> Check | None:
    """Accuracy that clusters guided by words reach at least; None where words do not guide.

    Args:
        metrics: figures of the run, `least_accuracy` among them.
        noun: what one item is called.

    Returns:
        The check; it says what is reached at least, so it is never weak alone.
    """
    value = finite(metrics.get("least_accuracy"))
    if value is None:
        return None
    count_of, sets = fitted_on(guided=True)
    sentence = (
        f"On {sets} sets with labels, {count(count_of)} clusterings were made whose heads began at "
        "words. Of those with figures like this one's, about nine in ten put at least "
        f"{percent(value, 0)} of the {noun}s into the right class; where the words know the "
        f"{noun}s, most reached far more. No expected value is given, because only one of the sets "
        "had such images."
    )
    grade: Grade = "strong" if EXPECTED.grade(value) == "strong" else "mixed"
    return Check("Least accuracy", f"{decimal(value, 2)} or more", grade, sentence)


def local_consistency_check(final: Mapping[str, Any], cluster_sizes: Sequence[int]) -> Check | None:
    """Share of the nearest neighbours in the same cluster, corrected for chance.

    One cluster that holds everything has a share of 1; the correction brings that to 0.
    """
    value = finite(final.get("local_consistency"))
    total = int(np.sum(cluster_sizes))
    if value is None or total == 0:
        return None
    chance = float(np.sum(np.square(np.asarray(cluster_sizes, dtype=np.float64) / total)))
    corrected = (value - chance) / (1 - chance) if chance < 1 else 0.0
    sentence = (
        f"On average, {percent(value)} of the nearest neighbours are in the same cluster. "
        f"Random clusters of these sizes would reach {percent(chance)}. Corrected for chance, the "
        f"local consistency is {decimal(corrected, 2)} (strong from "
        f"{LOCAL_CONSISTENCY.strong:.2f}, weak below {LOCAL_CONSISTENCY.weak:.2f})."
    )
    grade = LOCAL_CONSISTENCY.grade(corrected)
    return Check("Local consistency", percent(value), grade, sentence, essential=True)


def head_agreement_check(own: Mapping[str, Any], heads: HeadSetup) -> Check | None:
    """Mean adjusted Rand index between the heads of SPICE-Self, each started differently.

    Args:
        own: figures of SPICE-Self.
        heads: how the heads were trained.

    Returns:
        None where it was not measured or says nothing: of a single head, and of heads that
        collapsed, which agree on one cluster.
    """
    agreement = finite(own.get("head_agreement"))
    if agreement is None or heads.num_heads < 2 or collapsed(own.get("cluster_sizes") or ()):
        return None
    sentence = (
        f"This run trained {heads.num_heads} clustering heads, small classifiers that start "
        f"{STARTS[heads.start]}, and kept one. Every two of them agree to {decimal(agreement, 2)} "
        "on average (adjusted Rand index, ARI: 1 is identical, 0 is chance; strong from "
        f"{HEAD_AGREEMENT.strong:.2f}, weak below {HEAD_AGREEMENT.weak:.2f})."
    )
    grade = HEAD_AGREEMENT.grade(agreement)
    return Check("Head agreement", decimal(agreement, 2), grade, sentence)


def reliable_name(noun: Noun) -> str:
    """Name of the check of the reliable items."""
    return f"Reliable {noun}s"


def reliable_check(
    num_reliable: int,
    cluster_sizes: Sequence[int],
    reliable_counts: Sequence[int],
    noun: Noun = "image",
) -> Check | None:
    """Share of the items that passed the reliability thresholds.

    Args:
        num_reliable: items that passed.
        cluster_sizes: [K] members of each final cluster.
        reliable_counts: [K] reliable labels in each cluster of SPICE-Self.
        noun: what one item is called.

    Returns:
        None without items. Weak after a collapse: in a single cluster all neighbours agree.
    """
    num_items = int(np.sum(cluster_sizes))
    if num_items == 0:
        return None
    share = num_reliable / num_items
    without = [cluster for cluster, number in enumerate(reliable_counts) if number == 0]
    grade = RELIABLE_SHARE.grade(share)
    sentence = (
        f"{count(num_reliable)} of {quantity(num_items, noun)} ({percent(share)}) passed the "
        f"reliability thresholds (strong from {percent(RELIABLE_SHARE.strong, 0)}, weak below "
        f"{percent(RELIABLE_SHARE.weak, 0)}; the share depends on the thresholds listed below)."
    )
    if collapsed(cluster_sizes):
        grade = "weak"
        sentence += " With one cluster in use, all neighbours agree, so this share says nothing."
    elif len(without) == len(reliable_counts):
        grade = "weak"
        sentence += f" No cluster has a reliable {noun}."
    elif without:
        grade = "weak" if grade == "weak" else "mixed"
        sentence += f" Without any reliable {noun}: {cluster_list(without)}."
    return Check(reliable_name(noun), percent(share), grade, sentence)


def cluster_size_check(
    cluster_sizes: Sequence[int],
    noun: Noun = "image",
    title_of: Callable[[int], str] = "cluster {}".format,
) -> Check | None:
    """Smallest cluster against an equal share; an empty cluster is always weak.

    Args:
        cluster_sizes: [K] members of each final cluster.
        noun: what one item is called.
        title_of: what a cluster is called.

    Returns:
        None without items. A collapse into one cluster is essential: it sinks the verdict alone.
    """
    sizes = np.asarray(cluster_sizes, dtype=np.int64)
    if sizes.sum() == 0:
        return None
    empty = [int(cluster) for cluster in np.flatnonzero(sizes == 0)]
    if collapsed(sizes):
        sentence = (
            f"All {quantity(int(sizes.sum()), noun)} are in {title_of(int(sizes.argmax()))}; the "
            f"other {quantity(len(empty), 'cluster')} received none. Train the clustering heads "
            "again with a lower learning rate, or start from better embeddings."
        )
        return Check("Cluster sizes", "all in one cluster", "weak", sentence, essential=True)
    if empty:
        sentence = (
            f"{quantity(len(empty), 'cluster')} of {len(sizes)} received no {noun} "
            f"({cluster_list(empty)}): you may have asked for more clusters than the {noun}s "
            "form groups."
        )
        return Check("Cluster sizes", f"{len(empty)} empty", "weak", sentence)
    smallest, equal = int(sizes.argmin()), sizes.sum() / len(sizes)
    ratio = float(sizes[smallest] / equal)
    sentence = (
        f"No cluster is empty. The smallest, {title_of(smallest)}, has "
        f"{quantity(int(sizes[smallest]), noun)}: {percent(ratio, 0)} of an equal share, which is "
        f"{decimal(equal, 1)} (strong from {percent(SMALLEST_CLUSTER.strong, 0)}, weak below "
        f"{percent(SMALLEST_CLUSTER.weak, 0)}). SPICE assumes clusters of similar size."
    )
    value = f"smallest {count(sizes[smallest])}"
    return Check("Cluster sizes", value, SMALLEST_CLUSTER.grade(ratio), sentence)


def baseline_check(final: Mapping[str, Any], metrics: Mapping[str, Any]) -> Check | None:
    """Gain over k-means: in accuracy with labels, in local consistency without.

    Args:
        final: figures of the final clusters.
        metrics: figures per method, as in `ReportData.metrics`.

    Returns:
        None where nothing can be compared; without labels, a collapse has no check either, for
        its local consistency of 1 beats any.
    """
    embeddings = metrics.get("kmeans_embeddings") or {}
    accuracies = _baseline_accuracies(metrics)
    accuracy = finite(final.get("acc"))
    if accuracy is not None and accuracies:
        gain = accuracy - max(accuracies.values())
        better = "the better " if len(accuracies) > 1 else ""
        measured = ", ".join(f"{name}: {percent(value)}" for name, value in accuracies.items())
        sentence = (
            f"The accuracy differs from that of {better}k-means by {100 * gain:+.1f} points "
            f"({measured}; strong from {100 * ACCURACY_GAIN.strong:+.0f}, weak below 0)."
        )
        return Check("Against k-means", _points(gain), ACCURACY_GAIN.grade(gain), sentence)
    ours, theirs = (finite(row.get("local_consistency")) for row in (final, embeddings))
    if ours is None or theirs is None or collapsed(final.get("cluster_sizes") or ()):
        return None
    gain = ours - theirs
    sentence = (
        f"k-means on the same embeddings has a local consistency of {percent(theirs)}, a "
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

"""Names of clusters: the words that set each cluster apart from the rest, at a useful level.

A cluster speaks through its images. Three numbers, each between 0 and 1, decide what it is called:

- *Evidence* is an F-score of the words' probabilities as they are: how much of the cluster a
  concept covers, and how much of the concept lies in the cluster.
- *Separation* is the same F-score of a sharper opinion: what the cluster's surest half says more
  often than all images do.
- *Fit* is the median over all images of the largest probability: whether the vocabulary knows
  such images at all.

The concept of the largest separation gives the name. Of the concepts above and below it that
separate nearly as well, the one that texts use most is preferred (a bird, not an oscine), and the
most specific one if the images themselves are evidence of it (a tench, not a fish). If that is a
concept too broad to be a name, such as *tool*, the cluster has none: a word below it would claim
more than the images show.

The limits were chosen with probabilities that EfficientNet-Lite0 gives at the 224 pixels it was
trained at. At smaller sides it is surer of itself and more often wrong, on images it does not know
most of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spice_keras.words.hierarchy import Hierarchy
from spice_keras.words.probabilities import softmax

_SMALLEST = 1e-12
_SHARPNESS = 2.0
_MOST_WORDS = 3


@dataclass(frozen=True)
class NameLimits:
    """When a cluster gets a name, and how fine the name is. All numbers are between 0 and 1.

    Attributes:
        fit: Below this median of the largest word probability, no cluster is named.
        separation: Below this separation a concept is not named.
        evidence: Below this evidence a concept is not named.
        tolerance: Share of separation that a better level of the same concept may lose.
        specific: With this much evidence, the most specific concept within the tolerance is named.
        further: Share of the limit `separation` that a second and third word need.
    """

    fit: float = 0.15
    separation: float = 0.35
    evidence: float = 0.04
    tolerance: float = 0.2
    specific: float = 0.5
    further: float = 0.3


@dataclass(frozen=True)
class ClusterName:
    """What a cluster is called.

    Attributes:
        name: Singular, and different for each cluster of a run; None if none was given.
        words: Up to three words with their separation, best first; empty without a name.
        reason: Why no name was given, one sentence; empty with a name.
        concepts: Ids of the concepts behind the words.
    """

    name: str | None
    words: tuple[tuple[str, float], ...] = ()
    reason: str = ""
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class WordEvidence:
    """What the images of each cluster say about the words, summed up.

    Attributes:
        sizes: Images of each cluster, int [K].
        means: Mean probability of each word over the cluster's images, [K, W].
        sure_logs: Mean logarithm of the probability over the cluster's surest half, [K, W].
        all_logs: Mean logarithm of the probability over all images, [W].
        fit: Median over all images of the largest probability.
    """

    sizes: np.ndarray
    means: np.ndarray
    sure_logs: np.ndarray
    all_logs: np.ndarray
    fit: float

    def opinions(self) -> np.ndarray:
        """What each cluster says more often than all images do, as probabilities [K, W]."""
        return softmax(_SHARPNESS * (self.sure_logs - self.all_logs))


def word_evidence(
    probabilities: Iterable[np.ndarray],
    clusters: np.ndarray,
    num_clusters: int,
    confidence: np.ndarray | None = None,
) -> WordEvidence:
    """Sum up the word probabilities of each cluster, in one pass.

    Args:
        probabilities: Blocks [n, W] of consecutive images, N in all, as `probability_blocks` gives
            them. ``[p]`` if all are in one array.
        clusters: Cluster of each image, int [N], in 0..K-1.
        num_clusters: K.
        confidence: How sure each image's cluster is, [N]; the upper half of each cluster counts
            as its surest. None if all are equally sure.

    Returns:
        The sums, in float64. A cluster without images has zeros and the mean of all.

    Raises:
        ValueError: If the numbers of images disagree, or there are none.
    """
    sure = _surest_half(clusters, num_clusters, confidence)
    members = np.eye(num_clusters)[clusters]
    means = logs = all_logs = np.zeros(1)
    largest, start = [], 0
    for block in probabilities:
        rows = slice(start, start + len(block))
        logarithms = np.log(np.maximum(block, _SMALLEST))
        means = means + members[rows].T @ block
        logs = logs + (members[rows] * sure[rows, np.newaxis]).T @ logarithms
        all_logs = all_logs + logarithms.sum(axis=0, dtype=np.float64)
        largest.append(block.max(axis=1))
        start += len(block)
    if start != len(clusters) or not start:
        raise ValueError(
            "Expected probabilities of as many images as clusters, at least one. "
            f"Received: {start} images, clusters.shape={clusters.shape}"
        )
    sizes, num_sure = members.sum(axis=0), (members * sure[:, np.newaxis]).sum(axis=0)
    overall = all_logs / start
    return WordEvidence(
        sizes=sizes.astype(np.int64),
        means=means / np.maximum(sizes, 1.0)[:, np.newaxis],
        sure_logs=np.where(
            num_sure[:, np.newaxis] > 0, logs / np.maximum(num_sure, 1.0)[:, np.newaxis], overall
        ),
        all_logs=overall,
        fit=float(np.median(np.concatenate(largest))),
    )


def _surest_half(
    clusters: np.ndarray, num_clusters: int, confidence: np.ndarray | None
) -> np.ndarray:
    """Whether each image is in the surer half of its cluster, rounded up: bool [N]."""
    if confidence is None:
        return np.ones(len(clusters), bool)
    sure = np.zeros(len(clusters), bool)
    for cluster in range(num_clusters):
        rows = np.flatnonzero(clusters == cluster)
        order = np.argsort(-confidence[rows], kind="stable")
        sure[rows[order[: (len(rows) + 1) // 2]]] = True
    return sure


def separation(recall: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How well each concept separates each cluster: the F-score of its probabilities.

    With R the mean probability of a concept in a cluster, and P the share of its probability in
    all clusters that lies in this one: F = 2PR / (P + R).

    Args:
        recall: R, [K, S].
        sizes: Images of each cluster, [K].

    Returns:
        F, float64 [K, S], in 0..1.
    """
    amounts = sizes[:, np.newaxis] * recall
    precision = amounts / np.maximum(amounts.sum(axis=0), _SMALLEST)
    return 2.0 * precision * recall / np.maximum(precision + recall, _SMALLEST)


def vocabulary_fits(evidence: WordEvidence, limits: NameLimits | None = None) -> bool:
    """Say whether the vocabulary knows such images at all.

    Args:
        evidence: Of a run's clusters.
        limits: The limit `fit`; None for the defaults.

    Returns:
        Whether the median of the largest word probability reaches the limit.
    """
    return evidence.fit >= (limits or NameLimits()).fit


def name_clusters(
    evidence: WordEvidence, hierarchy: Hierarchy, limits: NameLimits | None = None
) -> tuple[ClusterName, ...]:
    """Name each cluster, or say in one sentence why it gets no name.

    Args:
        evidence: What the images of each cluster say about the W words.
        hierarchy: Which of the words is a kind of which other.
        limits: When a cluster gets a name; None for the defaults.

    Returns:
        K names, no two of them equal. If one concept is best for two clusters, the one it
        separates better takes it; the other takes the next level, or the same name with a number.

    Example:
        >>> import numpy as np
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
        >>> summed = word_evidence([p], np.array([0, 0, 1, 1]), 2)
        >>> [one.name for one in name_clusters(summed, Hierarchy.flat(["cat", "dog"]))]
        ['cat', 'dog']
    """
    limits = limits or NameLimits()
    if not vocabulary_fits(evidence, limits):
        reason = (
            "The vocabulary does not know such images: it gives the likeliest word of half of them "
            f"a probability below {limits.fit:g} (median {evidence.fit:.2f})."
        )
        return (ClusterName(None, reason=reason),) * len(evidence.sizes)
    separated = separation(hierarchy.masses(evidence.opinions()), evidence.sizes)
    scores = _Scores(
        separation=separated,
        narrow=np.where(hierarchy.broad, 0.0, separated),
        evidence=separation(hierarchy.masses(evidence.means), evidence.sizes),
    )
    found = [_levels(scores, cluster, hierarchy, limits) for cluster in range(len(evidence.sizes))]
    names = [ClusterName(None, reason=reason) for _, reason in found]
    named = [cluster for cluster, (levels, _) in enumerate(found) if levels]
    named.sort(key=lambda cluster: -scores.separation[cluster, found[cluster][0][0]])
    taken = _Taken(hierarchy)
    for cluster in named:
        concept, name = taken.take(found[cluster][0])
        chosen = [concept, *_further(scores.narrow[cluster], concept, hierarchy, limits)]
        words = [name, *(hierarchy.lemmas[other][0] for other in chosen[1:])]
        values = (float(scores.separation[cluster, other]) for other in chosen)
        ids = tuple(hierarchy.ids[other] for other in chosen)
        names[cluster] = ClusterName(name, tuple(zip(words, values, strict=True)), "", ids)
    return tuple(names)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Separation and evidence of every concept for every cluster, [K, S].

    `narrow` is the separation of the concepts that are not too broad, and 0 of those that are.
    """

    separation: np.ndarray
    narrow: np.ndarray
    evidence: np.ndarray


def _levels(
    scores: _Scores, cluster: int, hierarchy: Hierarchy, limits: NameLimits
) -> tuple[list[int], str]:
    """The concepts a cluster may be named after, best first; or none, and why."""
    separations, evidence = scores.separation[cluster], scores.evidence[cluster]
    best = int(scores.narrow[cluster].argmax())
    word = hierarchy.lemmas[best][0]
    if separations[best] < limits.separation:
        return [], (
            f"No word sets this cluster apart: the best, {word}, reaches "
            f"{separations[best]:.2f} of 1, below {limits.separation:g}."
        )
    line = [one for one in range(len(separations)) if hierarchy.on_one_line(one, best)]
    enough = (1.0 - limits.tolerance) * separations[line].max()
    line = [concept for concept in line if separations[concept] >= enough]
    line = [concept for concept in line if evidence[concept] >= limits.evidence]
    if not line:
        return [], (
            f"Too few of the images look like the word that sets them apart most, {word}: "
            f"its evidence is {evidence[best]:.2f} of 1, below {limits.evidence:g}."
        )

    def preference(concept: int) -> tuple[bool, int, int, int]:
        """Specific concepts the images are evidence of, then words that texts use, then others."""
        sure = bool(evidence[concept] >= limits.specific and not hierarchy.broad[concept])
        common = 0 if sure else int(hierarchy.counts[concept])
        return (
            not sure,
            -common,
            int(hierarchy.num_words[concept]),
            -int(hierarchy.depth[concept]),
        )

    line.sort(key=preference)
    if hierarchy.broad[line[0]]:
        return [], (
            f"The word that covers this cluster, {hierarchy.lemmas[line[0]][0]}, is too broad "
            "to be a name."
        )
    return [concept for concept in line if not hierarchy.broad[concept]], ""


def _further(
    separations: np.ndarray, first: int, hierarchy: Hierarchy, limits: NameLimits
) -> list[int]:
    """The next concepts that are neither above nor below one another."""
    chosen = [first]
    for concept in np.argsort(-separations, kind="stable").tolist():
        enough = separations[concept] >= limits.further * limits.separation
        if len(chosen) == _MOST_WORDS or not enough:
            break
        if not any(hierarchy.on_one_line(concept, other) for other in chosen):
            chosen.append(concept)
    return chosen[1:]


class _Taken:
    """The names that clusters have already, and what they stand for."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._concepts: set[int] = set()
        self._names: set[str] = set()

    def take(self, levels: Sequence[int]) -> tuple[int, str]:
        """Choose the first concept that is free, or number one that is not."""
        free = [concept for concept in levels if concept not in self._concepts]
        concept = free[0] if free else levels[0]
        name = self._lemma(concept) if free else self._numbered(self._hierarchy.lemmas[concept][0])
        self._concepts.add(concept)
        self._names.add(name)
        return concept, name

    def _lemma(self, concept: int) -> str:
        """The usual name, or another if it stands for something else already."""
        lemmas = self._hierarchy.lemmas[concept]
        for lemma in lemmas:
            if lemma not in self._names:
                return lemma
        return self._numbered(lemmas[0])

    def _numbered(self, name: str) -> str:
        number = 2
        while f"{name} ({number})" in self._names:
            number += 1
        return f"{name} ({number})"

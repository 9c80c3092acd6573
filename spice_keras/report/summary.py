"""The verdict in three plain sentences: what was made, how far to trust it, where to look first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spice_keras.report.advice import Advice
from spice_keras.report.clustering import Clustering, Noun
from spice_keras.report.formatting import count, finite, quantity
from spice_keras.report.table import final_method
from spice_keras.report.verdict import Level, Verdict

MOST_NAMED = 3
_LEADS: Mapping[Level, str] = {
    "strong": "Nothing that was measured speaks against them",
    "mixed": "Look at the marked clusters before you use them",
    "weak": "Do not use them without checking their members",
    "unknown": "Too little was measured to say how far to trust them",
}


def plain_verdict(
    metrics: Mapping[str, Any],
    clustering: Clustering,
    verdict: Verdict,
    advice: Sequence[Advice | None],
    noun: Noun,
) -> tuple[str, str, str]:
    """Says what a person must know first.

    Args:
        metrics: figures per method, as in `ReportData.metrics`.
        clustering: the final clusters.
        verdict: the level of trust.
        advice: [K] what the report says of each cluster.
        noun: what one item is called.

    Returns:
        Three sentences without terms of the field.
    """
    return (
        _made(clustering, noun),
        _trust(metrics, clustering, verdict, noun),
        _first_look(clustering, advice, noun),
    )


def _made(clustering: Clustering, noun: Noun) -> str:
    sizes = clustering.sizes[clustering.sizes > 0]
    total = quantity(len(clustering.clusters), noun)
    verb = "was" if len(clustering.clusters) == 1 else "were"
    made = f"{total} {verb} sorted into {quantity(clustering.num_clusters, 'cluster')}"
    empty = clustering.num_clusters - len(sizes)
    if empty:
        return f"{made}, of which {count(empty)} stayed empty."
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return f"{made} of {quantity(low, noun)} each."
    return f"{made}, groups of {count(low)} to {quantity(high, noun)}."


def _trust(metrics: Mapping[str, Any], clustering: Clustering, verdict: Verdict, noun: Noun) -> str:
    if clustering.is_collapsed:
        return f"They are of no use: every {noun} is in one cluster, so no groups were found."
    lead = _LEADS[verdict.level]
    accuracy = finite((metrics.get(final_method(metrics) or "") or {}).get("acc"))
    expected = metrics.get("expected_accuracy")
    if accuracy is not None:
        return f"{lead}: {_of_hundred(accuracy)} of 100 {noun}s are in the cluster of their label."
    if expected:
        low, high = (_of_hundred(float(expected[key])) for key in ("low", "high"))
        return (
            f"{lead}: about {_of_hundred(float(expected['acc']))} of 100 {noun}s are probably in "
            f"the right cluster, and most likely between {low} and {high}."
        )
    return f"{lead}."


def _of_hundred(share: float) -> int:
    return round(100 * share)


def _first_look(clustering: Clustering, advice: Sequence[Advice | None], noun: Noun) -> str:
    known = [cluster for cluster, said in enumerate(advice) if said is not None]
    doubtful = [cluster for cluster in known if _action(advice[cluster]) != "none"]
    if not known or clustering.is_collapsed:
        return "Whether these are the groups you have in mind, only you can say: look at them."
    if not doubtful:
        return f"Every cluster holds together well; look at a few {noun}s of each all the same."
    kept = np.zeros(clustering.num_clusters) if clustering.links is None else clustering.links.kept
    worst = sorted(doubtful, key=lambda cluster: (float(kept[cluster]), cluster))
    named = [clustering.title_of(cluster) for cluster in worst[:MOST_NAMED]]
    more = len(worst) - len(named)
    text = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    if more:
        text = f"{', '.join(named)} and {more} more"
    rest = len(known) - len(worst)
    if not rest:
        return f"Look first at {text}."
    holds = "the other one holds" if rest == 1 else f"the other {count(rest)} hold"
    return f"Look first at {text}; {holds} together well."


def _action(advice: Advice | None) -> str:
    return "none" if advice is None else advice.action

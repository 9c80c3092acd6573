"""Reliable labels: the images whose neighbours agree with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spice_keras.algorithm.local_consistency import (
    ReliableLabels,
    local_consistency,
    reliable_labels,
)
from spice_keras.errors import UserError
from spice_keras.options import fewest_items, neighbors_tell
from spice_keras.report.formatting import cluster_list
from spice_keras.run.context import Context
from spice_keras.run.store import Heads, Reliable

_MOST_COUNTS = 20


def uneven_shares(context: Context) -> np.ndarray | None:
    """How large the clusters are if the heads were trained for uneven ones.

    Args:
        context: The run; its heads are there.

    Returns:
        The share of the items in each cluster, [K]; None if clusters should be equally large.
    """
    heads = context.load(Heads)
    if not context.config.self_labeling.is_for_uneven(heads.head):
        return None
    counts = np.bincount(heads.clusters, minlength=context.config.num_clusters)
    return counts / len(heads.clusters)


def _can_be_told(context: Context) -> bool:
    """Whether there are items enough to judge labels by neighbours."""
    return neighbors_tell(context.plan.num_images, context.config.num_clusters)


def _trains_on_none(context: Context) -> bool:
    """Whether no stage trains on reliable labels."""
    semi = context.config.semi
    return not semi.enabled or semi.labels_from == "source"


def _none(found: ReliableLabels) -> ReliableLabels:
    """Return the same without any label."""
    return replace(
        found,
        indices=found.indices[:0],
        labels=found.labels[:0],
        counts=np.zeros_like(found.counts),
        repaired=(),
    )


def _say_too_few(context: Context, found: ReliableLabels) -> None:
    """Say that no label can be called reliable, and what is trained on if something is.

    Raises:
        UserError: SPICE-Semi comes next and has fewer than two clusters to learn from.
    """
    k, total = context.config.num_clusters, context.plan.num_images
    noun = "image" if context.has_images else "item"
    text = (
        f"{total} {noun}s in {k} clusters are too few to tell which labels are reliable; "
        f"{fewest_items(k)} would do (four a cluster)."
    )
    if _trains_on_none(context):
        context.screen.warn(text)
        return
    context.screen.warn(
        f"{text} SPICE-Semi trains on the {len(found.indices)} whose nearest neighbour agrees or "
        "that their cluster's head is surest of."
    )
    if np.count_nonzero(found.counts) < 2:
        _collapsed(context, found)


def _report(context: Context, found: ReliableLabels) -> None:
    """Say how many labels are reliable, and what a person may have to do about it.

    Raises:
        UserError: SPICE-Semi comes next and has fewer than two clusters to learn from.
    """
    k, used = context.config.num_clusters, context.config.num_clusters - len(found.empty)
    noun = "image" if context.has_images else "item"
    counts = f"by cluster {', '.join(map(str, found.counts))}"
    if k > _MOST_COUNTS:
        counts = f"{min(found.counts)} to {max(found.counts)} in each of {k} clusters"
    context.screen.say(
        f"reliable: {len(found.indices)} of {context.plan.num_images} {noun}s, {counts}."
    )
    if found.repaired:
        uneven = context.config.self_labeling.is_for_uneven(context.load(Heads).head)
        fewest = f"{context.config.reliable.min_per_cluster} reliable {noun}s"
        fewer = f"{fewest}, for their size," if uneven else fewest
        context.screen.warn(
            f"{cluster_list(found.repaired)} had fewer than {fewer}; the most consistent "
            "members were taken instead (reliable.min_per_cluster sets how many)."
        )
    if np.count_nonzero(found.counts) < 2:
        _collapsed(context, found)
    elif found.empty:
        command = "spice run" if context.has_images else "spice self"
        context.screen.warn(
            f"empty: {cluster_list(found.empty)}. The heads found {used} groups, not {k}. "
            f"To ask for fewer: {command} --clusters {used} with another "
            "--run-dir."
        )


def _collapsed(context: Context, found: ReliableLabels) -> None:
    """Warn that there is one cluster, or stop if SPICE-Semi would have to learn from it."""
    section, semi = context.config.reliable, context.config.semi
    some = "Only one cluster has" if found.counts.any() else "No cluster has"
    fact = (
        f"{some} reliable labels (counts {found.counts.tolist()}, thresholds "
        f"consistency > {section.consistency_threshold}, confidence > "
        f"{section.confidence_threshold})"
    )
    if semi.enabled and semi.labels_from == "reliable":
        raise UserError(
            f"{fact}: SPICE-Semi has nothing to tell apart. The heads collapsed; "
            f"{_advice(context)}."
        )
    context.screen.warn(
        f"the heads collapsed. {fact}. The report shows it; for a better result {_advice(context)}."
    )


def _advice(context: Context) -> str:
    """Name the learning rate of the phase in which the heads collapsed, and a lower value."""
    section, unrefined = context.config.self_labeling, context.load(Heads).unrefined
    refined_away = unrefined is not None and len(np.unique(unrefined)) > 1
    if section.objective == "sic":
        option, rate = "self.sic.learning_rate", section.sic.learning_rate
    elif section.objective == "neighbors" or refined_away:
        option, rate = "self.neighbors.learning_rate", section.neighbors.learning_rate
    else:
        option, rate = "self.learning_rate", section.learning_rate
    command = "spice run" if context.has_images else "spice self"
    more = ", or pretrain for longer" if context.config.trains_encoder else ""
    return (
        f"try `{command} ... --set {option}={rate / 5:g}` with another --run-dir than "
        f"{context.run.path}{more}"
    )


def select_reliable(context: Context) -> None:
    """Select the reliable labels and write the artifact `reliable`.

    Args:
        context: The run; its heads are there.

    Raises:
        UserError: Fewer than two clusters have any, and SPICE-Semi would be trained on them.
    """
    section, result = context.config.reliable, context.load(Heads)
    consistency = local_consistency(result.clusters, context.bank.neighbors)
    found = reliable_labels(
        result.clusters,
        result.trained_confidence,
        consistency,
        num_clusters=context.config.num_clusters,
        consistency_threshold=section.consistency_threshold,
        confidence_threshold=section.confidence_threshold,
        min_per_cluster=section.min_per_cluster,
        balance=section.balance,
        seed=context.seed("reliable"),
        shares=uneven_shares(context),
    )
    if not _can_be_told(context):
        found = _none(found) if _trains_on_none(context) else found
        _say_too_few(context, found)
    else:
        _report(context, found)
    thresholds = {
        **section.model_dump(),
        "num_neighbors": context.plan.reliable.num_neighbors,
        "reliable": len(found.indices),
        "counts": found.counts,
        "repaired": found.repaired,
        "empty": found.empty,
    }
    context.save(Reliable(found.indices, found.labels, consistency, thresholds))

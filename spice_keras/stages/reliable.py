"""Reliable labels: the images whose neighbours agree with them."""

from __future__ import annotations

import numpy as np

from spice_keras.algorithm.local_consistency import (
    ReliableLabels,
    local_consistency,
    reliable_labels,
)
from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.store import Heads, Reliable


def _report(context: Context, found: ReliableLabels) -> None:
    k, run = context.config.num_clusters, context.run.path
    total = context.plan.num_images
    context.screen.say(
        f"reliable: {len(found.indices)} of {total} images, by cluster "
        f"{', '.join(str(count) for count in found.counts)}."
    )
    if found.repaired:
        context.screen.warn(
            f"clusters {', '.join(map(str, found.repaired))} had fewer than "
            f"{context.config.reliable.min_per_cluster} reliable images and were given their "
            "most consistent members (reliable.min_per_cluster sets how many)."
        )
    if found.empty:
        context.screen.warn(
            f"clusters {', '.join(map(str, found.empty))} are empty: the heads found "
            f"{k - len(found.empty)} groups, not {k}. To ask for fewer: "
            f"spice run --clusters {k - len(found.empty)} with another --run-dir."
        )
    if np.count_nonzero(found.counts) < 2:
        section = context.config.reliable
        raise UserError(
            f"Only one cluster has reliable labels (counts {found.counts.tolist()}, thresholds "
            f"consistency > {section.consistency_threshold}, confidence > "
            f"{section.confidence_threshold}): SPICE-Semi has nothing to tell apart. The heads "
            f"collapsed; try `spice run ... --set self.learning_rate="
            f"{context.config.self_labeling.learning_rate / 5:g}` with another --run-dir than "
            f"{run}, or more pretraining."
        )


def select_reliable(context: Context) -> None:
    """Select the reliable labels and write the artifact `reliable`.

    Args:
        context: The run; its heads are there.

    Raises:
        UserError: Where fewer than two clusters have any.
    """
    section, result = context.config.reliable, context.load(Heads)
    consistency = local_consistency(result.clusters, context.bank.neighbors)
    found = reliable_labels(
        result.clusters,
        result.confidence,
        consistency,
        num_clusters=context.config.num_clusters,
        consistency_threshold=section.consistency_threshold,
        confidence_threshold=section.confidence_threshold,
        min_per_cluster=section.min_per_cluster,
        balance=section.balance,
        seed=context.seed("reliable"),
    )
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

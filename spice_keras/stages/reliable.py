"""Reliable labels: the images whose neighbours agree with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spice_keras.algorithm.local_consistency import (
    ReliableLabels,
    local_consistency,
    reliable_labels,
)
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.run.context import Context
from spice_keras.stages.embed import read_embeddings
from spice_keras.stages.self_label import read_self


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
    section, result = context.config.reliable, read_self(context)
    consistency = local_consistency(result.clusters, read_embeddings(context).neighbors)
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
    with context.run.write("reliable", stage="reliable") as folder:
        save_reliable(folder, found, consistency)
        facts = {
            **section.model_dump(),
            "num_neighbors": context.plan.reliable.num_neighbors,
            "reliable": len(found.indices),
            "counts": found.counts,
            "repaired": found.repaired,
            "empty": found.empty,
        }
        write_json(folder / "thresholds.json", facts)


def save_reliable(folder: Path, found: ReliableLabels, consistency: np.ndarray) -> None:
    """Write which images are reliable, their clusters, and every image's local consistency."""
    np.savez(
        folder / "reliable.npz",
        indices=found.indices,
        labels=found.labels,
        consistency=consistency,
    )


def read_reliable(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Read the reliable images' rows, int64 [R], and their clusters, int32 [R]."""
    folder = context.read("reliable", written_by="self")
    with np.load(folder / "reliable.npz", allow_pickle=False) as archive:
        return archive["indices"], archive["labels"]

"""The decisions of a review as labels for SPICE-Semi: `semi.labels_from: edits`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spice_keras.errors import UserError
from spice_keras.review.log import EDITS, EditLog
from spice_keras.review.state import ReviewState
from spice_keras.run.context import Context
from spice_keras.run.store import Heads
from spice_keras.stages.semi import Corrections


def refuse_missing_edits(path: Path) -> None:
    """Refuse to go on if a run has no edits to learn from.

    Args:
        path: The run directory.

    Raises:
        UserError: If it holds no edits.jsonl.
    """
    if not (path / EDITS).is_file():
        raise UserError(
            f"semi.labels_from: edits asks for {path / EDITS}, and there is none. Finish the run "
            f"without it, make edits with `spice review {path}` (or copy the edits.jsonl of a run "
            f"over the same images), and then train: spice semi --run-dir {path} --redo "
            "--set semi.labels_from=edits"
        )


def corrections_of(context: Context) -> Corrections:
    """Read what a person decided about the clusters of a run's heads.

    Edits that were made on another result of the same images are carried over, as on the page of
    `spice review`. No label of the data is read.

    Args:
        context: The run; its heads are there.

    Returns:
        The decisions, in the numbers of the heads' clusters.

    Raises:
        UserError: If no edit stands, or a person made clusters of their own, which these heads
            have no number for.
    """
    refuse_missing_edits(context.run.path)
    start = ReviewState(context.ids, context.load(Heads).clusters, context.config.num_clusters)
    log = EditLog(context.run.path / EDITS, start)
    for entry, reason in log.current.lost:
        context.screen.warn(f"edit {entry.number} ({entry.edit.kind}) no longer applies: {reason}.")
    state, counts = log.state, log.state.counts()
    if not log.current.done:
        raise UserError(f"No edit in {log.path} applies. Make some with spice review.")
    own = [key for key in state.groups if key.startswith("n") and counts[key]]
    if own:
        raise UserError(
            f"The edits make {len(own)} clusters that the run does not have, and SPICE-Semi trains "
            f"{context.config.num_clusters}, as before. Run `spice apply {context.run.path}` "
            "first; SPICE-Semi can follow on what it makes: `spice semi --run-dir RUN-reviewed "
            "--set semi.enabled=true`."
        )
    number = np.array([int(key[1:]) if key.startswith("c") else -1 for key in state.keys], np.int32)
    decided = (state.decisions > 0) & ~state.excluded
    labels = np.where(decided, number[state.places], -1).astype(np.int32)
    merge = [int(_went(f"c{k}", state)[1:]) for k in range(state.num_clusters)]
    return Corrections(labels, state.excluded.copy(), np.array(merge, np.int32))


def _went(key: str, state: ReviewState) -> str:
    """Where a cluster's images are: itself, or the one it was merged into, step by step."""
    while key in state.went:
        key = state.went[key]
    return key

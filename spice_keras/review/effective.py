"""The clusters that a run ends in once its edits are taken into account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spice_keras.review.state import DECISIONS, ReviewState


@dataclass(frozen=True, eq=False)
class Effective:
    """Automatic result and edits, put together.

    Attributes:
        clusters: int32, the cluster of each image from 0 to K'-1, -1 for one that is left out.
            Shape: (num_images,).
        keys: The key of each of the K' clusters.
        names: What each is called, "" for one without a name.
        named: Whether a person gave the name.
        decisions: What was decided about each image: "", "checked", "moved", "new", "split",
            "excluded", or "merged" for one whose cluster went into another.
        fixed: bool, whether a person said where the image belongs. Shape: (num_images,).
        merge: int32, the cluster that each automatic one went into; None if one of them was cut
            or lost an image to another, so that no rule about whole clusters says it.
    """

    clusters: np.ndarray
    keys: tuple[str, ...]
    names: tuple[str, ...]
    named: tuple[bool, ...]
    decisions: tuple[str, ...]
    fixed: np.ndarray
    merge: np.ndarray | None

    @property
    def num_clusters(self) -> int:
        """K', the number of clusters."""
        return len(self.keys)


def effective(state: ReviewState) -> Effective:
    """Read the clusters off a state.

    Args:
        state: The clusters after all edits.

    Returns:
        The same, numbered from 0. Clusters that a person emptied are gone.
    """
    merge = _whole_clusters(state)
    counts = state.counts()
    kept = [key for key in state.groups if merge is not None or counts[key]]
    number = np.full(len(state.keys), -1, np.int32)
    for place, key in enumerate(kept):
        number[state.keys.index(key)] = place
    clusters = number[state.places]
    clusters[state.excluded] = -1
    groups = [state.groups[key] for key in kept]
    return Effective(
        clusters,
        tuple(kept),
        tuple(group.name for group in groups),
        tuple(group.named for group in groups),
        _decisions(state),
        (state.decisions > 0) & ~state.excluded,
        None if merge is None else number[merge],
    )


def _whole_clusters(state: ReviewState) -> np.ndarray | None:
    """The place of the cluster that each automatic one is in now; None if one is torn."""
    moved = state.decisions >= DECISIONS.index("moved")
    if moved.any():
        return None
    found = np.full(state.num_clusters, -1, np.int32)
    found[state.automatic] = state.places
    for cluster in np.flatnonzero(found < 0):  # empty: it went where it was merged into
        key = f"c{cluster}"
        while key in state.went:
            key = state.went[key]
        found[cluster] = state.keys.index(key)
    return found


def _decisions(state: ReviewState) -> tuple[str, ...]:
    words = np.array([*DECISIONS, "merged", "excluded"])
    told = state.decisions.astype(np.int64)
    away = (told == 0) & (state.places != state.automatic)
    told[away] = len(DECISIONS)
    told[state.excluded] = len(DECISIONS) + 1
    return tuple(words[told].tolist())

"""What to ask a person next: the questions whose answers settle the most images."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.clustering.representatives import Representative, worth_asking
from spice_keras.review.state import ReviewState

QuestionKind = Literal["same", "belongs", "two"]

_REPRESENTATIVES = 50
_LEAST_SHARE = 0.04  # of the neighbours of both clusters: below it, they hardly touch
_MOST_PAIRS, _MOST_HALVES, _MOST_UNCERTAIN = 6, 4, 10
_SHOWN, _CHOICES = 8, 9
_SPLIT_SAMPLE, _LEAST_SPLIT = 600, 12
_CLEAR_HALVES = 0.12  # share of the spread that two centres explain in place of one


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        kind: "same": are these two clusters one? "belongs": is this image in the right cluster?
            "two": is this cluster two things?
        groups: The clusters it is about; of "belongs", the image's own first, then the likeliest
            others.
        rows: Images to show; of "belongs", the image first, then images it stands for.
        settles: How many images the answer settles.
    """

    kind: QuestionKind
    groups: tuple[str, ...]
    rows: tuple[int, ...]
    settles: int


@dataclass(eq=False)
class Questions:
    """Finds questions about a clustering as edits change it.

    Args:
        embeddings: Of unit length. Shape: (num_images, dim).
        neighbors: Nearest neighbours, itself not among them. Shape: (num_images, n).
        probabilities: Of the automatic clusters. Shape: (num_images, K).
    """

    embeddings: np.ndarray
    neighbors: np.ndarray
    probabilities: np.ndarray
    _halves: dict[bytes, float] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def _standing(self) -> list[Representative]:
        confidence = self.probabilities.max(axis=1)
        return worth_asking(self.embeddings, confidence, _REPRESENTATIVES, seed=0)

    def of(self, state: ReviewState) -> list[Question]:
        """List the questions that are open, the one that settles most first.

        Images that stand for many others come before uncertain ones: an answer about them spreads
        furthest, while the least certain images are often like nothing else.

        Args:
            state: The clusters as they stand.

        Returns:
            The questions; none if everything is decided.
        """
        with self._lock:
            pairs = self._pairs(state)
            halves = self._likely_halves(state)
            standing = self._belonging(state)
        asked = {question.rows[0] for question in standing}
        uncertain = self._uncertain(state, asked)
        first = sorted([*pairs, *halves, *standing], key=lambda one: -one.settles)
        return [*first, *uncertain]

    def _pairs(self, state: ReviewState) -> list[Question]:
        """Clusters whose images are neighbours of each other's."""
        count = len(state.keys)
        sizes = np.bincount(state.places[~state.excluded], minlength=count)
        links = np.zeros((count, count))
        used = self.neighbors[:, :10]
        own = np.repeat(state.places, used.shape[1])
        kept = ~(state.excluded[used].ravel() | np.repeat(state.excluded, used.shape[1]))
        np.add.at(links, (own[kept], state.places[used].ravel()[kept]), 1.0)
        links = links + links.T
        shares = links / np.maximum(links.sum(axis=1, keepdims=True), 1.0)
        mutual = np.triu(np.minimum(shares, shares.T), 1)
        found: list[Question] = []
        for flat in np.argsort(-mutual, axis=None, kind="stable"):
            one, other = divmod(int(flat), count)
            if mutual[one, other] < _LEAST_SHARE or len(found) == _MOST_PAIRS:
                break
            pair = (state.keys[one], state.keys[other])
            if frozenset(pair) in state.distinct:
                continue
            left, right = (self._surest(state, key) for key in pair)
            shown = min(len(left), len(right))  # as many of each, so that halves tell them apart
            rows = (*left[:shown], *right[:shown])
            found.append(Question("same", pair, rows, int(min(sizes[one], sizes[other]))))
        return found

    def _surest(self, state: ReviewState, key: str) -> list[int]:
        """Images nearest to the centre of a cluster."""
        members = state.members(key)
        center = self.embeddings[members].mean(axis=0)
        nearest = np.argsort(-(self.embeddings[members] @ center), kind="stable")
        return members[nearest[:_SHOWN]].tolist()

    def _likely_halves(self, state: ReviewState) -> list[Question]:
        """Clusters that two centres explain much better than one."""
        found = []
        for key, group in state.groups.items():
            members = state.members(key)
            if group.whole or len(members) < _LEAST_SPLIT:
                continue
            gain = self._gain(members)
            if gain > _CLEAR_HALVES:
                rows = tuple(self._surest(state, key))
                found.append((gain, Question("two", (key,), rows, len(members) // 2)))
        found.sort(key=lambda one: -one[0])
        return [question for _, question in found[:_MOST_HALVES]]

    def _gain(self, members: npt.NDArray[np.int64]) -> float:
        known = hashlib.sha256(members.tobytes()).digest()
        if known not in self._halves:
            step = max(1, len(members) // _SPLIT_SAMPLE)
            rows = self.embeddings[members[::step][:_SPLIT_SAMPLE]]
            halves = kmeans_clusters(rows, 2, seed=0, num_init=2)
            whole = np.square(rows - rows.mean(axis=0)).sum()
            parts = [rows[halves == half] for half in (0, 1)]
            spread = sum(np.square(p - p.mean(axis=0)).sum() for p in parts if len(p))
            if len(self._halves) > 1000:
                self._halves.clear()
            self._halves[known] = float(1.0 - spread / max(whole, 1e-12))
        return self._halves[known]

    def _belonging(self, state: ReviewState) -> list[Question]:
        """Images that stand for many others, none of which was decided."""
        found: list[Question] = []
        open_ = (state.decisions == 0) & ~state.excluded
        for one in self._standing:
            if not open_[one.row]:
                continue
            cell = one.members[open_[one.members]]
            others = [other for other in cell.tolist() if other != one.row][: _SHOWN - 1]
            groups = self._likely(state, one.row)
            found.append(Question("belongs", groups, (one.row, *others), len(cell)))
        return found

    def _uncertain(self, state: ReviewState, asked: set[int]) -> list[Question]:
        """The images that the clustering is least sure of."""
        confidence = self.probabilities.max(axis=1)
        open_ = np.flatnonzero((state.decisions == 0) & ~state.excluded)
        order = open_[np.argsort(confidence[open_], kind="stable")]
        chosen = [row for row in order.tolist() if row not in asked][:_MOST_UNCERTAIN]
        return [Question("belongs", self._likely(state, row), (row,), 1) for row in chosen]

    def _likely(self, state: ReviewState, row: int) -> tuple[str, ...]:
        """An image's cluster, then those of its neighbours and its likeliest automatic ones."""
        own = state.key_of(row)
        near = np.bincount(state.places[self.neighbors[row]], minlength=len(state.keys))
        by_neighbors = [state.keys[p] for p in np.argsort(-near, kind="stable") if near[p]]
        by_model = [f"c{k}" for k in np.argsort(-self.probabilities[row], kind="stable")]
        likely = dict.fromkeys([own, *by_neighbors, *by_model, *state.groups])
        return tuple(key for key in likely if key in state.groups)[: _CHOICES + 1]

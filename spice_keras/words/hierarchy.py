"""Which word is a kind of which other: a dog is a domestic animal, and an animal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Concepts over the words of a vocabulary, each with the words below it.

    A word of the vocabulary is a concept too. A concept above others covers all of their words.

    Attributes:
        ids: of the S concepts, all different.
        lemmas: What each is called, the usual name first.
        parents: Positions of the concepts directly above each one; no concept is above itself.
        word_concepts: Position of the concept that each of the W words stands for, int [W].
        counts: How often texts mean each concept, int [S]; 0 if that is not known.
        broad: Whether a concept is too broad to name anything, bool [S].

    Raises:
        ValueError: If the lengths disagree, or a concept has no word at or below it.
    """

    ids: tuple[str, ...]
    lemmas: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    word_concepts: np.ndarray
    counts: np.ndarray
    broad: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(self.ids), *map(len, (self.lemmas, self.parents, self.counts, self.broad))}
        if len(lengths) != 1:
            raise ValueError(f"Expected as many of each as ids. Received: lengths={lengths}")
        if np.min(self.num_words) < 1:
            bare = self.ids[int(np.argmin(self.num_words))]
            raise ValueError(f"Expected a word below every concept. Received: none below {bare!r}")

    @classmethod
    def flat(cls, nouns: Sequence[str]) -> Hierarchy:
        """Make a hierarchy of words that have nothing above them.

        Args:
            nouns: The W words, all different.

        Returns:
            A hierarchy of W concepts without parents.
        """
        size = len(nouns)
        return cls(
            ids=tuple(nouns),
            lemmas=tuple((noun,) for noun in nouns),
            parents=((),) * size,
            word_concepts=np.arange(size),
            counts=np.zeros(size, np.int64),
            broad=np.zeros(size, bool),
        )

    @cached_property
    def above(self) -> tuple[frozenset[int], ...]:
        """All concepts above each one, itself left out."""
        found: dict[int, frozenset[int]] = {}

        def look(concept: int) -> frozenset[int]:
            if concept not in found:
                direct = self.parents[concept]
                found[concept] = frozenset(direct).union(*(look(parent) for parent in direct))
            return found[concept]

        return tuple(look(concept) for concept in range(len(self.ids)))

    @cached_property
    def depth(self) -> np.ndarray:
        """Longest way from each concept to one without parents, int [S]."""
        order = sorted(range(len(self.ids)), key=lambda concept: len(self.above[concept]))
        depth = np.zeros(len(self.ids), np.int64)
        for concept in order:
            depth[concept] = max((depth[parent] + 1 for parent in self.parents[concept]), default=0)
        return depth

    @cached_property
    def num_words(self) -> np.ndarray:
        """Words at or below each concept, int [S]."""
        return np.bincount(self._pairs[1], minlength=len(self.ids))

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every word with every concept at or above it, sorted by concept: two arrays of ints."""
        pairs = [
            (concept, word)
            for word, own in enumerate(self.word_concepts.tolist())
            for concept in (own, *self.above[own])
        ]
        concepts, words = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
        return words, concepts

    def masses(self, probabilities: np.ndarray) -> np.ndarray:
        """Sum the probabilities of the words at or below each concept.

        Args:
            probabilities: Of the W words, [..., W].

        Returns:
            float64 [..., S].
        """
        words, concepts = self._pairs
        starts = np.searchsorted(concepts, np.arange(len(self.ids)))
        picked = np.asarray(probabilities, np.float64)[..., words]
        return np.add.reduceat(picked, starts, axis=-1)

    def on_one_line(self, one: int, other: int) -> bool:
        """Say whether two concepts are the same, or one is above the other."""
        return one == other or one in self.above[other] or other in self.above[one]

"""A drawn world: images and nouns in one space, with synonyms, distractors and a style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS, DIM = 5, 32
SIZES = (240, 180, 130, 90, 60)
SYNONYMS, DISTRACTORS, GENERIC = 12, 400, 20
_STYLES = slice(KINDS, KINDS + 2)
_COMMON = KINDS + 2
_REST = KINDS + 3


@dataclass(frozen=True)
class World:
    """Images and nouns.

    Attributes:
        features: float32 [N, D]; each image is its kind, a style and noise.
        kinds: Kind of each image, [N].
        vectors: float32 [W, D].
        word_kinds: Kind that each noun means; -1 for distractors, -2 for those that mean all.
    """

    features: np.ndarray
    kinds: np.ndarray
    vectors: np.ndarray
    word_kinds: np.ndarray


def draw_world(seed: int, style: float = 1.0) -> World:
    """Draw a world of unequal kinds.

    Images vary more in style (two directions that no noun speaks of) than in kind, so k-means
    divides them by style. Nouns have much in common; some are nothing else, and most are about
    other things.
    """
    generator = np.random.default_rng(seed)
    kinds = generator.permutation(np.repeat(np.arange(KINDS), SIZES))
    features = 0.12 * generator.standard_normal((len(kinds), DIM))
    features[np.arange(len(kinds)), kinds] += 1.0
    features[:, _STYLES] += style * generator.choice([-1.0, 1.0], (len(kinds), 2))
    features[:, _COMMON] += 0.5
    word_kinds = np.repeat([*range(KINDS), -1, -2], [*[SYNONYMS] * KINDS, DISTRACTORS, GENERIC])
    vectors = 0.1 * generator.standard_normal((len(word_kinds), DIM))
    vectors[:, _COMMON] += 1.0
    meaning = word_kinds >= 0
    vectors[np.flatnonzero(meaning), word_kinds[meaning]] += 1.0
    others = generator.standard_normal((DISTRACTORS, DIM - _REST))
    others *= 1.2 / np.linalg.norm(others, axis=1, keepdims=True)
    vectors[word_kinds == -1, _REST:] += others
    vectors[word_kinds == -2] *= 0.2
    vectors[word_kinds == -2, _COMMON] += 1.0
    order = generator.permutation(len(word_kinds))
    return World(
        features.astype(np.float32), kinds, vectors[order].astype(np.float32), word_kinds[order]
    )

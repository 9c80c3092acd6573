"""A small tree of words, and probabilities drawn for tests."""

from __future__ import annotations

import numpy as np

from spice_keras.words.hierarchy import Hierarchy

# thing: animal: (dog: spaniel, terrier), cat; vehicle: car, truck. Broad: thing, animal.
IDS = ("thing", "animal", "dog", "spaniel", "terrier", "cat", "vehicle", "car", "truck")
PARENTS = ((), (0,), (1,), (2,), (2,), (1,), (0,), (6,), (6,))
WORDS = (3, 4, 5, 7, 8)


def tree(**changes: object) -> Hierarchy:
    parts: dict = {
        "ids": IDS,
        "lemmas": tuple((one, f"{one} again") for one in IDS),
        "parents": PARENTS,
        "word_concepts": np.array(WORDS),
        "counts": np.array([0, 0, 40, 1, 0, 20, 9, 60, 20]),
        "broad": np.array([True, True, *[False] * 7]),
    }
    return Hierarchy(**parts | changes)


def draw(seed: int, images: int, words: int, sharpness: float = 2.0) -> np.ndarray:
    """Random probabilities [images, words] whose rows sum to 1."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((images, words))
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def certain(words: list[int], num_words: int, probability: float = 0.9) -> np.ndarray:
    """An image for each word, which has this probability; the others share the rest."""
    p = np.full((len(words), num_words), (1 - probability) / (num_words - 1), np.float32)
    p[np.arange(len(words)), words] = probability
    return p

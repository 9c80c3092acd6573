"""K words that describe all images together, chosen by facility location."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spice_keras.errors import UserError

NUM_CANDIDATES = 300
"""How many of the most frequent words may be chosen."""


@dataclass(frozen=True, eq=False)
class WordCover:
    """The words chosen to describe a set of images, and which one describes each image.

    Attributes:
        words: Positions of the K words in the vocabulary, in the order of choice, int [K].
        clusters: The chosen word with the largest probability for each image, int [N] in 0..K-1.
        gains: What each word added to the mean over images of the largest root of a probability
            among the chosen, float [K]; never increasing.
    """

    words: np.ndarray
    clusters: np.ndarray
    gains: np.ndarray


def cover_with_words(
    probabilities: np.ndarray, num_clusters: int, *, num_candidates: int = NUM_CANDIDATES
) -> WordCover:
    """Choose, one after another, the words that describe all images best.

    With P the square root of the word probabilities, the words are chosen greedily to maximise the
    sum over images i of max over chosen words w of P_iw: facility location, which the greedy choice
    solves to within 1 - 1/e. The candidates are the words of the largest mean probability.

    Args:
        probabilities: Of the W words for each image, [N, W].
        num_clusters: K words to choose.
        num_candidates: How many of the most frequent words may be chosen, at least K.

    Returns:
        The words and the cluster of each image.

    Raises:
        UserError: If the vocabulary has fewer than K words.
        ValueError: If the numbers are out of range.

    Nemhauser, Wolsey and Fisher (1978).
    """
    num_images, num_words = probabilities.shape
    if num_words < num_clusters:
        raise UserError(
            f"The vocabulary has {num_words} words, too few for {num_clusters} clusters. "
            "Add words, or ask for fewer clusters."
        )
    if num_images < 1 or not 1 <= num_clusters <= num_candidates:
        raise ValueError(
            "Expected at least one image and 1 <= num_clusters <= num_candidates. Received: "
            f"{num_images} images, num_clusters={num_clusters}, num_candidates={num_candidates}"
        )
    common = np.argsort(-probabilities.mean(axis=0, dtype=np.float64), kind="stable")
    candidates = common[:num_candidates]
    roots = np.sqrt(np.asarray(probabilities[:, candidates], np.float32))
    covered = np.zeros((num_images, 1), np.float32)
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(num_clusters):
        added = np.maximum(roots - covered, 0.0).sum(axis=0, dtype=np.float64)
        added[chosen] = -1.0
        best = int(added.argmax())
        chosen.append(best)
        gains.append(float(added[best]) / num_images)
        covered = np.maximum(covered, roots[:, best : best + 1])
    return WordCover(candidates[chosen], roots[:, chosen].argmax(axis=1), np.array(gains))

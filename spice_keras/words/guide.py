"""Words as a guide: K words that cover the images, and whether clusters should begin at them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spice_keras.words.coverage import NUM_CANDIDATES, cover_with_words
from spice_keras.words.probabilities import probability_blocks, softmax, word_logits
from spice_keras.words.vocabulary import Vocabulary

GUIDE_LIMIT = 0.33
"""The smallest fit with which words guide, for features of `efficientnet_lite0` at 224 pixels."""


@dataclass(frozen=True, eq=False)
class WordGuide:
    """What the words of a vocabulary say of the clusters that a set of images may have.

    Attributes:
        words: The K nouns that cover the images, in the order of choice.
        clusters: The one of them that is most probable for each image, int [N] in 0..K-1.
        labels: Probabilities of the K nouns alone, float32 [N, K]; rows sum to 1.
        fit: Median over the images of the largest probability in the whole vocabulary.
    """

    words: tuple[str, ...]
    clusters: np.ndarray
    labels: np.ndarray
    fit: float

    def of(self, rows: np.ndarray) -> WordGuide:
        """Return what the same words say of some of the images, integers [R]."""
        return replace(self, clusters=self.clusters[rows], labels=self.labels[rows])


def word_guide(vocabulary: Vocabulary, features: np.ndarray, num_clusters: int) -> WordGuide:
    """Find the K words that cover a set of images, and what they say of each.

    The images are read twice, in blocks, so that memory grows with N times the number of candidate
    words, 300, and not with the vocabulary.

    Args:
        vocabulary: At least K words.
        features: Embeddings of the images, [N, D], as the encoder gives them.
        num_clusters: K.

    Returns:
        The guide.

    Raises:
        UserError: If the embeddings have another width than the words, or there are fewer than K.

    Example:
        >>> import numpy as np
        >>> from spice_keras.words.guide import word_guide
        >>> from spice_keras.words.vocabulary import Vocabulary
        >>> words = Vocabulary(("cat", "dog", "sky"), np.eye(3), source="three", temperature=0.1)
        >>> guide = word_guide(words, np.eye(3)[[0, 1, 1, 0]], num_clusters=2)
        >>> sorted(guide.words), guide.clusters[1] == guide.clusters[2]
        (['cat', 'dog'], True)
    """
    vocabulary.check_fits(features.shape[1], num_clusters)
    largest, total = [], np.zeros(vocabulary.num_words)
    for block in probability_blocks(vocabulary, features):
        largest.append(block.max(axis=1))
        total += block.sum(axis=0, dtype=np.float64)
    count = min(vocabulary.num_words, max(NUM_CANDIDATES, num_clusters))
    candidates = np.argsort(-total, kind="stable")[:count]
    likely = np.concatenate(
        [block[:, candidates] for block in probability_blocks(vocabulary, features)]
    )
    cover = cover_with_words(likely, num_clusters, num_candidates=count)
    chosen = _only(vocabulary, candidates[cover.words])
    return WordGuide(
        chosen.nouns,
        cover.clusters,
        softmax(word_logits(chosen, features)),
        float(np.median(np.concatenate(largest))),
    )


def _only(vocabulary: Vocabulary, words: np.ndarray) -> Vocabulary:
    """The vocabulary of these words alone."""
    return replace(
        vocabulary,
        nouns=tuple(vocabulary.nouns[word] for word in words),
        vectors=vocabulary.vectors[words],
        bias=None if vocabulary.bias is None else vocabulary.bias[words],
        hierarchy=None,
    )


def vocabulary_guides(fit: float, limit: float = GUIDE_LIMIT) -> bool:
    """Decide without labels whether clusters should be made with the words.

    If the vocabulary has a word for most images, clusters that begin at K covering words are far
    better than those of the images alone; if it has none, they are far worse.

    Args:
        fit: Median over the images of the largest word probability, in [0, 1], as `WordGuide`
            holds it.
        limit: The smallest fit with which words guide. It depends on the vocabulary: the more
            words there are, the lower probabilities are.

    Returns:
        Whether they guide. If not, words only name the clusters.

    Raises:
        ValueError: If the fit is not a probability.

    Example:
        >>> vocabulary_guides(0.6), vocabulary_guides(0.2)
        (True, False)
    """
    if not 0.0 <= fit <= 1.0:
        raise ValueError(f"`fit` is a probability, from 0 to 1. Received: fit={fit}")
    return fit >= limit

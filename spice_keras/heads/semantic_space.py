"""The words that a set of images is clustered with, and the centres that heads take from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.semantic_centers import (
    adjusted_image_centers,
    nearest_words,
    semantic_centers,
    semantic_labels,
    semantic_space,
)
from spice_keras.errors import UserError
from spice_keras.options import Sizes, evenness_of_heads


@dataclass(frozen=True, eq=False)
class SemanticSpace:
    """Images and the words that describe them, in one space.

    Attributes:
        features: Embeddings of all images, float32 [N, D].
        word_vectors: Vectors of the words that passed SIC's filters, float32 [T, D].
        words: Their positions in the vocabulary, ascending, int [T].
        confident_ratio: xi_c in (0, 1], the share of an even cluster that makes its image centre.
        words_per_cluster: xi_a >= 1, words that make a semantic centre.
        sizes: Whether an image centre is made by as many images as its cluster is large; "auto":
            for the second half of the heads.

    SIC (arXiv 2208.09849).
    """

    features: np.ndarray
    word_vectors: np.ndarray
    words: np.ndarray
    confident_ratio: float = 0.9
    words_per_cluster: int = 30
    sizes: Sizes = "even"

    def centers(self, logits: np.ndarray) -> np.ndarray:
        """Make the semantic centres of every head.

        Args:
            logits: Of every head for all images, [H, N, K].

        Returns:
            Unit directions, float32 [H, K, D].
        """
        # Head by head: the images that make the centres are nearly a copy of all features.
        evenness = self.evenness(len(logits))
        return np.stack(
            [
                semantic_centers(self.word_vectors, self._rows(head, weight)).numpy()[0]
                for head, weight in zip(np.asarray(logits), evenness, strict=True)
            ]
        )

    def evenness(self, num_heads: int) -> tuple[float | None, ...]:
        """Say how even the clusters of each head are to be.

        Args:
            num_heads: All heads.

        Returns:
            For each head the weight of equal shares; None for the paper's way.
        """
        return evenness_of_heads(self.sizes, num_heads) or (None,) * num_heads

    def words_of(self, logits: np.ndarray, evenness: float | None = None) -> np.ndarray:
        """Find the words that make one head's semantic centres: what its clusters are about.

        Args:
            logits: Of one head for all images, [N, K].
            evenness: What `evenness` says of this head.

        Returns:
            Positions in the vocabulary, the word most similar to the cluster first, int
            [K, min(xi_a, T)].
        """
        return self.words[self._rows(np.asarray(logits), evenness).numpy()[0]]

    def labels(
        self, logits: np.ndarray, temperature: float | None, evenness: float | None = None
    ) -> tf.Tensor:
        """Label all images by the centres that one head's own logits give.

        Args:
            logits: Of one head for all images, [N, K].
            temperature: See `spice_keras.algorithm.semantic_centers.semantic_labels`.
            evenness: What `evenness` says of this head.

        Returns:
            float32 [N, K]; rows sum to 1.
        """
        rows = self._rows(np.asarray(logits), evenness)
        centers = semantic_centers(self.word_vectors, rows)
        return semantic_labels(self.features, centers, temperature)[0]

    def _rows(self, logits: np.ndarray, evenness: float | None) -> tf.Tensor:
        adjusted = adjusted_image_centers(
            tf.convert_to_tensor(self.features),
            logits[np.newaxis],
            self.confident_ratio,
            None if evenness is None else (evenness,),
        )
        return nearest_words(adjusted, self.word_vectors, self.words_per_cluster)


def fitted_semantic_space(
    features: np.ndarray,
    word_vectors: np.ndarray,
    clusters: np.ndarray,
    *,
    words_per_center: int = 500,
    uniqueness: float = 0.05,
    confident_ratio: float = 0.9,
    words_per_cluster: int = 30,
    sizes: Sizes = "even",
) -> SemanticSpace:
    """Choose the words for a set of images by SIC's two filters.

    Args:
        features: Embeddings of all images, float32 [N, D].
        word_vectors: Those of the vocabulary, in the same space, float32 [W, D].
        clusters: Of k-means, integers [N]; the means of its clusters are the centres that words
            are relevant to.
        words_per_center: gamma_r, nouns that each centre adds.
        uniqueness: gamma_u in [0, 1].
        confident_ratio: xi_c, see `SemanticSpace`.
        words_per_cluster: xi_a, see `SemanticSpace`.
        sizes: See `SemanticSpace`.

    Returns:
        The space.

    Raises:
        UserError: If the words have another width than the images, or none passes both filters.

    SIC (arXiv 2208.09849), semantic space construction.
    """
    if word_vectors.ndim != 2 or word_vectors.shape[1] != features.shape[1]:
        raise UserError(
            f"The words' vectors must have the width of the images' embeddings, "
            f"{features.shape[1]}. Received: shape {word_vectors.shape}. Take both from the same "
            "model."
        )
    words = semantic_space(
        cluster_means(features, clusters),
        word_vectors,
        words_per_center=words_per_center,
        uniqueness=uniqueness,
    )
    if not len(words):
        raise UserError(
            f"None of the {len(word_vectors)} words both describes these images and differs from "
            "the mean of all words. Add words, or make the filters wider: a smaller uniqueness, "
            "more words for each centre."
        )
    return SemanticSpace(
        np.asarray(features, np.float32),
        np.asarray(word_vectors[words], np.float32),
        words,
        confident_ratio,
        words_per_cluster,
        sizes,
    )


def cluster_means(rows: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Average the rows of each cluster that has any.

    Args:
        rows: Shape: (num_samples, dim).
        clusters: Integers from 0. Shape: (num_samples,).

    Returns:
        float32 means, by the number of the cluster. Shape: (num_used, dim).
    """
    used, places = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(used), rows.shape[1]))
    np.add.at(sums, places, rows)
    counts = np.bincount(places)[:, np.newaxis]
    return (sums / counts).astype(np.float32)

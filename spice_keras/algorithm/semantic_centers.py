"""Semantic centres of SIC: what each cluster's surest images say in words, and labels from it.

Images and words lie in one space, that of an image-text model. Two filters leave the words that
describe these images. Each cluster's surest images make an image centre, the words nearest to it
make a semantic centre, and an image's pseudo-label is the semantic centre it is most similar to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.algorithm.cluster_sizes import claim_counts, confident_counts, estimated_shares
from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.prototypes import (
    log_probabilities,
    num_confident,
    prototypes,
    sized_prototypes,
)

_SHORTEST = 1e-30


def relevant_words(
    image_centers: np.ndarray, word_vectors: np.ndarray, words_per_center: int
) -> npt.NDArray[np.intp]:
    """Find the words near some centre of the images: the relevance filter.

    Args:
        image_centers: Centres of k-means on the images' embeddings. Shape: (num_centers, dim).
        word_vectors: Shape: (num_words, dim).
        words_per_center: gamma_r >= 1; all words if there are no more.

    Returns:
        Words that are among the gamma_r of largest cosine to a centre, ascending.

    Raises:
        ValueError: If the shapes disagree or the number is below 1.

    SIC (arXiv 2208.09849), semantic space construction.
    """
    _check_width(image_centers, word_vectors)
    if words_per_center < 1:
        raise ValueError(f"`words_per_center` must be at least 1. Received: {words_per_center=}")
    cosines = l2_normalized(image_centers) @ l2_normalized(word_vectors).T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :words_per_center]
    return np.unique(nearest)


def unique_words(word_vectors: np.ndarray, uniqueness: float) -> npt.NDArray[np.intp]:
    """Find the words that differ from what all words have in common: the uniqueness filter.

    Args:
        word_vectors: Shape: (num_words, dim).
        uniqueness: gamma_u in [0, 1].

    Returns:
        Words whose cosine to the mean of all vectors is below 1 - gamma_u, ascending.

    Raises:
        ValueError: If gamma_u is out of range.

    SIC (arXiv 2208.09849), semantic space construction.
    """
    if not 0 <= uniqueness <= 1:
        raise ValueError(f"`uniqueness` must lie in [0, 1]. Received: {uniqueness=}")
    mean = np.asarray(np.mean(word_vectors, axis=0, dtype=np.float64))
    cosines = l2_normalized(word_vectors) @ l2_normalized(mean[np.newaxis])[0]
    return np.flatnonzero(cosines < 1 - uniqueness)


def semantic_space(
    image_centers: np.ndarray,
    word_vectors: np.ndarray,
    *,
    words_per_center: int = 500,
    uniqueness: float = 0.05,
) -> npt.NDArray[np.intp]:
    """Choose the words that clusters are described with: those that pass both filters.

    Args:
        image_centers: Centres of k-means on the images' embeddings. Shape: (num_centers, dim).
        word_vectors: Shape: (num_words, dim).
        words_per_center: gamma_r, see `relevant_words`.
        uniqueness: gamma_u, see `unique_words`.

    Returns:
        Positions of the words, ascending; none if no word passes.

    SIC (arXiv 2208.09849), semantic space construction.
    """
    relevant = relevant_words(image_centers, word_vectors, words_per_center)
    return np.intersect1d(relevant, unique_words(word_vectors, uniqueness))


def adjusted_image_centers(
    features: tf.Tensor,
    logits: tf.Tensor,
    confident_ratio: float,
    evenness: Sequence[float] | None = None,
) -> tf.Tensor:
    """Average the images that each head gives the largest logits of each cluster.

    It is the prototype of SPICE, by logits in place of probabilities and at unit length. An image
    may stand for several clusters.

    Args:
        features: Embeddings of all images. Shape: (num_samples, dim).
        logits: Of every head for them. Shape: (num_heads, num_samples, num_clusters).
        confident_ratio: xi_c in (0, 1]: int(xi_c * (N // K)) images make a centre, at least one.
        evenness: For centres of as many images as the cluster is large, in place of N // K, see
            `estimated_shares`; None for the paper's.

    Returns:
        float32 unit directions; zero if the mean is. Shape: (num_heads, num_clusters, dim).

    Raises:
        ValueError: If there are fewer images than clusters or xi_c is out of range.

    SIC (arXiv 2208.09849), adjusted centre-based mapping.
    """
    _, num_samples, num_clusters = logits.shape
    if evenness is None:
        count = num_confident(num_samples, num_clusters, confident_ratio)
        return _unit(prototypes(features, logits, count))
    counts = claim_counts(estimated_shares(log_probabilities(logits), evenness), num_samples)
    surest = confident_counts(counts, confident_ratio)
    return _unit(sized_prototypes(features, logits, surest))


def nearest_words(
    image_centers: tf.Tensor, word_vectors: tf.Tensor, words_per_cluster: int
) -> tf.Tensor:
    """Find the words most similar to each image centre.

    Args:
        image_centers: Unit directions. Shape: (..., dim).
        word_vectors: Those of the semantic space. Shape: (num_words, dim).
        words_per_cluster: xi_a >= 1; all words if there are no more.

    Returns:
        int32 rows of `word_vectors`, the largest cosine first. A word may serve several clusters.
        Shape: (..., min(xi_a, num_words)).

    SIC (arXiv 2208.09849), adjusted centre-based mapping.
    """
    cosines = tf.einsum("...d,wd->...w", image_centers, _unit(word_vectors))
    return tf.math.top_k(cosines, k=min(words_per_cluster, word_vectors.shape[0])).indices


def semantic_centers(word_vectors: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Average the vectors of the words of each cluster.

    Args:
        word_vectors: As the text encoder gives them. Shape: (num_words, dim).
        words: Integer rows of them. Shape: (..., words_per_cluster).

    Returns:
        float32 unit directions; zero if the mean is. Shape: (..., dim).

    SIC (arXiv 2208.09849), adjusted centre-based mapping.
    """
    vectors = tf.cast(word_vectors, tf.float32)
    return _unit(tf.reduce_mean(tf.gather(vectors, words), axis=-2))


def semantic_labels(
    features: tf.Tensor, centers: tf.Tensor, temperature: float | None = None
) -> tf.Tensor:
    """Label images by the semantic centres: their pseudo-labels.

    Args:
        features: Embeddings of images; their length does not matter. Shape: (batch, dim).
        centers: Semantic centres of every head, unit. Shape: (num_heads, num_clusters, dim).
        temperature: Above 0: softmax of the cosines divided by it. None, as in the paper: all
            probability on the most similar centre, the first of equals.

    Returns:
        float32 probabilities of the clusters. Shape: (num_heads, batch, num_clusters).

    SIC (arXiv 2208.09849) Eq. 5.
    """
    cosines = tf.einsum("bd,hkd->hbk", _unit(features), tf.cast(centers, tf.float32))
    if temperature is not None:
        return tf.nn.softmax(cosines / temperature)
    return tf.one_hot(tf.argmax(cosines, axis=-1), cosines.shape[-1], dtype=tf.float32)


def image_semantic_consistency(log_probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """How much predictions disagree with the labels that the words give: cross-entropy.

    The other two terms of SIC's loss are those of neighbour consistency: minus the log of the dot
    product with a neighbour's prediction, and the entropy of the mean prediction.

    Args:
        log_probabilities: Log-softmax for images. Shape: (..., num_clusters).
        labels: Probabilities of the clusters. Shape: (..., num_clusters).

    Returns:
        float32 cross-entropy of each image, in nats, at least 0. Shape: (...).

    SIC (arXiv 2208.09849) Eq. 11, the image-semantic term.
    """
    scores = tf.cast(log_probabilities, tf.float32)
    return -tf.reduce_sum(tf.cast(labels, tf.float32) * scores, axis=-1)


def _unit(rows: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(rows, tf.float32), axis=-1, epsilon=_SHORTEST)


def _check_width(image_centers: np.ndarray, word_vectors: np.ndarray) -> None:
    if image_centers.ndim != 2 or image_centers.shape[1:] != word_vectors.shape[1:]:
        raise ValueError(
            "Images and words must lie in one space: centres [K, D] and words [W, D]. "
            f"Received: image_centers.shape={image_centers.shape}, "
            f"word_vectors.shape={word_vectors.shape}"
        )

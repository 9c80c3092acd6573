"""How probable each word is for each image, given the image's embedding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spice_keras.words.vocabulary import Vocabulary

_BLOCK_NUMBERS = 2**24


def word_logits(vocabulary: Vocabulary, features: np.ndarray) -> np.ndarray:
    """Score every word for every image.

    Args:
        vocabulary: W words.
        features: Embeddings of the images, [N, D], as the encoder gives them.

    Returns:
        float32 [N, W].

    Raises:
        UserError: If the embeddings have another width than the words.
    """
    vocabulary.check_fits(features.shape[1], num_clusters=1)
    x = np.asarray(features, np.float32)
    if vocabulary.temperature is None:
        logits = x @ vocabulary.vectors.T
    else:
        logits = _directions(x) @ _directions(vocabulary.vectors).T / vocabulary.temperature
    return logits if vocabulary.bias is None else logits + vocabulary.bias


def word_probabilities(vocabulary: Vocabulary, features: np.ndarray) -> np.ndarray:
    """Turn the scores of the words into probabilities: softmax over the vocabulary.

    Args:
        vocabulary: W words.
        features: Embeddings of the images, [N, D], as the encoder gives them.

    Returns:
        float32 [N, W]; rows sum to 1.

    Raises:
        UserError: If the embeddings have another width than the words.
    """
    return softmax(word_logits(vocabulary, features))


def probability_blocks(vocabulary: Vocabulary, features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `word_probabilities` of some images at a time, in order.

    Args:
        vocabulary: W words.
        features: Embeddings of the images, [N, D], as the encoder gives them.

    Yields:
        float32 [n, W], of about 64 MB.

    Raises:
        UserError: If the embeddings have another width than the words.
    """
    size = max(1, _BLOCK_NUMBERS // vocabulary.num_words)
    for start in range(0, len(features), size):
        yield word_probabilities(vocabulary, features[start : start + size])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Exponentials of the rows, each divided by its sum; the same type and shape."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.maximum(lengths, np.finfo(np.float64).tiny)).astype(np.float32)

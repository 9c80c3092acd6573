"""Choice of a clustering head without labels: the head with the smallest loss on all images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.algorithm.neighbor_consistency import mean_entropy, neighbor_consistency
from spice_keras.algorithm.prototypes import log_probabilities
from spice_keras.algorithm.pseudo_labels import own_pseudo_labels
from spice_keras.algorithm.self_losses import entropy_term, pair_losses
from spice_keras.algorithm.semantic_centers import image_semantic_consistency
from spice_keras.heads.semantic_space import SemanticSpace
from spice_keras.options import ClaimRule, SelfLoss, Sizes, evenness_of_heads

_PROBABILITIES = 2**21  # of neighbours held at a time if the caller does not say: 8 MiB


def head_losses(
    embeddings: np.ndarray,
    logits: np.ndarray,
    confident_ratio: float,
    *,
    loss: SelfLoss = "double-softmax",
    assignment: ClaimRule = "overlap",
    entropy_weight: float = 0.0,
    sizes: Sizes = "even",
) -> npt.NDArray[np.float64]:
    """Loss of each head on the whole data set; the head to keep is the smallest one's.

    Steps 1-3 of SPICE-Self with M = N on un-augmented images: the head's own predictions give
    prototypes, these give pseudo-labels, and the same predictions are scored against them.
    One head is held at a time, and the mean is taken in float64 because heads differ in the
    third decimal. Heads are judged by the loss they were trained with.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        logits: Logits of every head for un-augmented images.
            Shape: (num_heads, num_samples, num_clusters).
        confident_ratio: r in (0, 1], the share of an even cluster that makes its prototype.
        loss: Loss of a pair of a sample and its label.
        assignment: Whether a sample may get several labels.
        entropy_weight: Weight of the entropy of the mean prediction, which is subtracted.
        sizes: Whether a cluster claims as many samples as it is large; "auto": in the second half
            of the heads.

    Returns:
        Mean loss of each head, in nats. Shape: (num_heads,).

    Raises:
        ValueError: If shapes disagree, or there are fewer samples than clusters.

    SPICE (arXiv 2103.09382) Sec. 3.2, "select the head with the minimum loss".
    """
    embeddings, logits = np.asarray(embeddings, np.float32), np.asarray(logits)
    if embeddings.ndim != 2 or logits.ndim != 3 or logits.shape[1] != len(embeddings):
        raise ValueError(
            "`logits` must be (num_heads, num_samples, num_clusters) for the samples of "
            f"`embeddings`. Received: logits.shape={logits.shape}, "
            f"embeddings.shape={embeddings.shape}"
        )
    points = tf.convert_to_tensor(embeddings)
    losses, evenness = [], evenness_of_heads(sizes, len(logits))
    for number, head in enumerate(logits):
        scores = tf.convert_to_tensor(head, tf.float32)
        pairs = own_pseudo_labels(
            points,
            log_probabilities(scores)[tf.newaxis],
            confident_ratio,
            assignment=assignment,
            evenness=None if evenness is None else evenness[number : number + 1],
        )
        labels = tf.reshape(pairs.labels, [-1])
        values = pair_losses(labels, tf.gather(scores, pairs.indices[0]), loss).numpy()
        entropy = float(entropy_term(scores, entropy_weight)) if entropy_weight else 0.0
        losses.append(float(np.mean(values, dtype=np.float64)) + entropy)
    return np.array(losses, np.float64)


def neighbor_head_losses(
    logits: np.ndarray,
    neighbors: np.ndarray,
    entropy_weight: float | Sequence[float],
    block_size: int | None = None,
) -> npt.NDArray[np.float64]:
    """Neighbour-consistency loss of each head on the whole data set, all neighbours at once.

    Training sees one neighbour of each sample of a batch at a time, and the entropy of that
    batch; here nothing is drawn, so that heads can be told apart. Memory is that of one head's
    probabilities, N * K, and of a block of pairs.

    Args:
        logits: Logits of every head for un-augmented images.
            Shape: (num_heads, num_samples, num_clusters).
        neighbors: Rows of the neighbours of each sample, or of the first ones, which then alone
            are judged. Shape: (num_judged, num_neighbors).
        entropy_weight: Weight of the entropy of the mean prediction, or one for each head.
        block_size: Samples compared with all their neighbours at a time, at least 1; if None,
            so many that the neighbours' probabilities stay below 8 MiB.

    Returns:
        ``mean -ln <p, q> - entropy_weight * H(mean p)`` of each head, in nats.
        Shape: (num_heads,).

    Raises:
        ValueError: If the shapes disagree.

    SCAN (arXiv 2005.12320) Eq. 2 chooses the head of smallest loss.
    """
    logits, neighbors = np.asarray(logits), np.asarray(neighbors)
    if logits.ndim != 3 or neighbors.ndim != 2 or logits.shape[1] < len(neighbors):
        raise ValueError(
            "`logits` must be (num_heads, num_samples, num_clusters) for the samples of "
            f"`neighbors`. Received: logits.shape={logits.shape}, "
            f"neighbors.shape={neighbors.shape}"
        )
    if block_size is None:
        block_size = max(1, _PROBABILITIES // (neighbors.shape[1] * logits.shape[2]))
    losses, weights = [], np.broadcast_to(np.asarray(entropy_weight, np.float64), len(logits))
    for head, weight in zip(logits, weights, strict=True):
        scores = tf.nn.log_softmax(tf.convert_to_tensor(head, tf.float32))
        total = 0.0
        for start in range(0, len(neighbors), block_size):
            block = slice(start, min(start + block_size, len(neighbors)))
            theirs = tf.gather(scores, neighbors[block])
            pairs = neighbor_consistency(scores[block, tf.newaxis], theirs)
            total += float(np.sum(pairs.numpy(), dtype=np.float64))
        judged = scores[: len(neighbors)]
        losses.append(total / neighbors.size - weight * float(mean_entropy(judged)))
    return np.array(losses, np.float64)


def has_diverged(loss: float, num_clusters: int) -> bool:
    """Whether a head of neighbour consistency has lost its way: its learning rate was too high.

    A head that gives every cluster the same probability has a loss of at most ln K, whatever the
    weight of the entropy. A head that is sure of everything and wrong about half of it comes out
    some times higher; beyond 2 + 4 ln K the logits have grown without bound.

    Args:
        loss: What `neighbor_head_losses` gives it, in nats.
        num_clusters: K.

    Returns:
        Whether the loss is above that, or not a number.

    Example:
        >>> has_diverged(1.5e28, 10), has_diverged(0.4, 10)
        (True, False)
    """
    return not loss <= 2.0 + 4.0 * math.log(num_clusters)


def semantic_head_losses(
    logits: np.ndarray,
    neighbors: np.ndarray,
    space: SemanticSpace,
    *,
    entropy_weight: float | Sequence[float],
    label_weight: float,
    temperature: float | None = None,
) -> npt.NDArray[np.float64]:
    """SIC's loss of each head on the whole data set, all neighbours at once.

    The labels are those of the semantic centres that the head's own logits give, so nothing but
    the logits decides.

    Args:
        logits: Logits of every head for un-augmented images.
            Shape: (num_heads, num_samples, num_clusters).
        neighbors: Rows of the neighbours of each sample. Shape: (num_samples, num_neighbors).
        space: The same images, and the words.
        entropy_weight: Weight of the entropy of the mean prediction, or one for each head.
        label_weight: Weight of the cross-entropy with the labels.
        temperature: Of the labels; None for the most similar centre alone.

    Returns:
        Loss of each head, in nats. Shape: (num_heads,).

    Raises:
        ValueError: If the shapes disagree.

    SIC (arXiv 2208.09849) Eq. 11.
    """
    losses = neighbor_head_losses(logits, neighbors, entropy_weight)
    evenness = space.evenness(len(losses))
    for head, scores in enumerate(np.asarray(logits, np.float32)):
        labels = space.labels(scores, temperature, evenness[head])
        each = image_semantic_consistency(tf.nn.log_softmax(scores), labels)
        losses[head] += label_weight * float(np.mean(each.numpy(), dtype=np.float64))
    return losses

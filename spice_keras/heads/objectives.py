"""The self-labelling objectives, ready to fit: model, batches, and what a head is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from spice_keras.data.feature_batches import prototype_batches
from spice_keras.data.neighbor_batches import neighbor_batches
from spice_keras.heads.criteria import HeadScores, head_scores
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.losses import head_losses, neighbor_head_losses
from spice_keras.heads.neighbor_clustering import NeighborClustering
from spice_keras.heads.selection import HeadLosses, head_logits
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.heads.starts import (
    fit_heads,
    soften,
    start_at_centroids,
    start_centroids,
    start_clusters,
)
from spice_keras.options import ENTROPY_WEIGHTS, SelfVariant, Sizes, Start
from spice_keras.training.loop import compile_for_device
from spice_keras.training.optimizers import FusedAdam

Batches = Callable[[int], tf.data.Dataset]
"""First epoch to the batches from there on."""


@dataclass(frozen=True)
class HeadOptions:
    """What both objectives have in common.

    Attributes:
        num_clusters: K.
        num_heads: Independent heads H.
        start: Where they begin.
        epochs: Passes over the items.
        learning_rate: Learning rate of Adam.
        seed: Seed of weights, starts and batches.
    """

    num_clusters: int
    num_heads: int = 10
    start: Start = "random"
    epochs: int = 30
    learning_rate: float = 0.001
    seed: int = 0


@dataclass(frozen=True)
class SelfLabeling:
    """An objective bound to its data.

    Attributes:
        model: Compiled, its heads at their start, its optimizer built.
        batches: Makes the batches from an epoch on.
        losses: What each head is judged by, over the whole set.
        steps_per_epoch: Batches of an epoch.
        items_per_step: Items of a batch.
        scores: What chooses among them; None to go by the loss.
    """

    model: SpiceSelf | NeighborClustering
    batches: Batches
    losses: HeadLosses
    steps_per_epoch: int
    items_per_step: int
    scores: HeadScores | None = None


def neighbor_labeling(
    bank: FeatureBank,
    heads: HeadOptions,
    *,
    sizes: Sizes = "even",
    entropy_weight: float | None = None,
    hidden_dim: int | None = None,
    batch_size: int = 256,
) -> SelfLabeling:
    """Bind neighbour consistency to a feature bank.

    Args:
        bank: The features; every cached view is used.
        heads: The heads.
        sizes: Whether clusters should be about equally large. "auto" trains as many heads again,
            from the same starts, and decides by their clusters.
        entropy_weight: Weight of the entropy of the mean prediction; None for that of `sizes`.
        hidden_dim: Width of the heads' hidden layer; None for linear heads.
        batch_size: Pairs a step, at most N.

    Returns:
        The objective.

    SCAN (arXiv 2005.12320) Sec. 2.2.
    """
    num_items, dim = bank.features.shape
    neighbors = bank.head_neighbors
    batch_size = min(batch_size, num_items)
    groups = ENTROPY_WEIGHTS[sizes] if entropy_weight is None else (entropy_weight,)
    weights = [weight for weight in groups for _ in range(heads.num_heads)]
    model = NeighborClustering(
        heads.num_clusters,
        dim,
        num_heads=len(weights),
        hidden_dim=hidden_dim,
        input_scale=bank.space,
        entropy_weight=weights,
        seed=heads.seed,
    )
    _start_heads(model, bank, heads)
    _compile(model, FusedAdam(heads.learning_rate))
    scores = None
    if sizes != "uneven":
        scores = partial(head_scores, neighbors=neighbors, rows=bank.normalized, groups=len(groups))
    views = bank.views("weak", "strong")

    def batches(first_epoch: int) -> tf.data.Dataset:
        return neighbor_batches(
            views,
            neighbors,
            batch_size=batch_size,
            seed=heads.seed,
            first_epoch=first_epoch,
            epochs=heads.epochs - first_epoch,
        )

    def losses(logits: np.ndarray) -> np.ndarray:
        return neighbor_head_losses(logits, neighbors, weights)

    return SelfLabeling(model, batches, losses, num_items // batch_size, batch_size, scores)


def refinement(
    bank: FeatureBank,
    heads: HeadOptions,
    weights: list[np.ndarray],
    *,
    hidden_dim: int | None,
    entropy_weight: float = ENTROPY_WEIGHTS["even"][0],
    batch_size: int = 256,
) -> SelfLabeling:
    """Bind neighbour consistency to heads that SPICE-Self has trained, and to as many others.

    SPICE-Self draws each cluster around a prototype; neighbours carry a cluster along shapes that
    no single prototype covers. Its heads often share their mistakes, so the same number of heads
    starts from k-means beside them.

    Args:
        bank: The features; every cached view is used.
        heads: The heads of SPICE-Self; their start is not read.
        weights: Those of SPICE-Self's heads.
        hidden_dim: Width of their hidden layer; None for that of the features.
        entropy_weight: Weight of the entropy of the mean prediction.
        batch_size: Pairs a step, at most N.

    Returns:
        The objective, with twice as many heads. The loss chooses among them.
    """
    labeling = neighbor_labeling(
        bank,
        replace(heads, start="kmeans", num_heads=2 * heads.num_heads),
        entropy_weight=entropy_weight,
        hidden_dim=bank.features.shape[1] if hidden_dim is None else hidden_dim,
        batch_size=batch_size,
    )
    classifier = labeling.model.classifier
    pairs = zip(weights, classifier.get_weights(), strict=True)
    classifier.set_weights(
        [np.concatenate([trained, fresh[heads.num_heads :]]) for trained, fresh in pairs]
    )
    soften(classifier, head_logits(classifier, bank.features))
    return replace(labeling, scores=None)


@dataclass(frozen=True)
class PrototypeOptions:
    """What SPICE-Self's iterations are made of.

    Attributes:
        large_batch: M, images of an iteration; N at most.
        hidden_dim: Width of the heads' hidden layer; None for that of the features.
        confident_ratio: r, the share of an even cluster that makes its prototype.
        batch_size: Pairs of a head in one optimizer step.
        num_repeats: Passes over the same pseudo-labels.
        feature_batch: Images of one pass through the encoder.
        variant: What to do differently from the paper.
    """

    large_batch: int
    hidden_dim: int | None = None
    confident_ratio: float = 0.5
    batch_size: int = 128
    num_repeats: int = 8
    feature_batch: int = 256
    variant: SelfVariant = field(default_factory=SelfVariant)


def prototype_labeling(
    bank: FeatureBank,
    heads: HeadOptions,
    options: PrototypeOptions,
    *,
    encoder: keras.Model | None = None,
    image_batches: Batches | None = None,
) -> SelfLabeling:
    """Bind SPICE-Self to a feature bank, or to an encoder and batches of images.

    Args:
        bank: The features. Without an encoder the heads train on its cached views.
        heads: The heads.
        options: The iterations.
        encoder: Frozen unless the variant changes it; None to train on cached views.
        image_batches: Batches `{"embedding", "weak", "strong"}` of images, for the encoder.

    Returns:
        The objective.

    SPICE (arXiv 2103.09382) Sec. 3.2.
    """
    num_items, dim = bank.features.shape
    large_batch, variant = min(options.large_batch, num_items), options.variant
    model = SpiceSelf(
        heads.num_clusters,
        dim,
        encoder=encoder,
        num_heads=heads.num_heads,
        hidden_dim=options.hidden_dim,
        input_scale=bank.space,
        confident_ratio=options.confident_ratio,
        batch_size=options.batch_size,
        num_repeats=options.num_repeats,
        feature_batch=options.feature_batch,
        variant=variant,
        seed=heads.seed,
    )
    _start_heads(model, bank, heads)
    # PyTorch's epsilon: the gradients of the double softmax are small.
    _compile(model, FusedAdam(heads.learning_rate, epsilon=1e-8))

    def losses(logits: np.ndarray) -> np.ndarray:
        return head_losses(
            bank.normalized,
            logits,
            options.confident_ratio,
            loss=variant.loss,
            assignment=variant.assignment,
            entropy_weight=variant.entropy_weight,
        )

    batches = image_batches or _cached_batches(bank, heads, large_batch)
    return SelfLabeling(model, batches, losses, num_items // large_batch, large_batch)


def _start_heads(
    model: SpiceSelf | NeighborClustering, bank: FeatureBank, heads: HeadOptions
) -> None:
    """Bring the heads to the clusters they start from: exactly if linear, by training if not."""
    clusters = start_clusters(
        bank, heads.start, heads.num_clusters, num_heads=heads.num_heads, seed=heads.seed
    )
    if clusters is None:
        return
    # Every group of heads has the same starts.
    clusters = np.tile(clusters, (model.num_heads // heads.num_heads, 1))
    if model.classifier.linear:
        centroids = start_centroids(bank, heads.num_clusters, clusters)
        start_at_centroids(model.classifier, bank.normalized, centroids)
    else:
        fit_heads(model.classifier, bank.features, clusters, seed=heads.seed)


def _cached_batches(bank: FeatureBank, heads: HeadOptions, large_batch: int) -> Batches:
    def batches(first_epoch: int) -> tf.data.Dataset:
        return prototype_batches(
            bank.normalized,
            weak=bank.views("weak"),
            strong=bank.views("strong"),
            batch_size=large_batch,
            seed=heads.seed,
            first_epoch=first_epoch,
            epochs=heads.epochs - first_epoch,
        )

    return batches


def _compile(model: SpiceSelf | NeighborClustering, optimizer: keras.optimizers.Optimizer) -> None:
    if isinstance(model, SpiceSelf):
        # The shuffle of its pairs has no XLA kernel, so on a GPU too it runs without XLA.
        model.compile(optimizer=optimizer, jit_compile=False)
    else:
        compile_for_device(model, optimizer)
    model.optimizer.build(model.trainable_variables)

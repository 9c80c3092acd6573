"""The self-labelling objectives, ready to fit: model, batches, and what a head is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.clustering.neighbors import euclidean_neighbors
from spice_keras.data.feature_batches import FeatureViews, prototype_batches
from spice_keras.data.neighbor_batches import neighbor_batches
from spice_keras.heads.criteria import HeadScores, head_scores, loss_scores
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.guided_clustering import GuidedClustering
from spice_keras.heads.losses import head_losses, neighbor_head_losses, semantic_head_losses
from spice_keras.heads.neighbor_clustering import NeighborClustering
from spice_keras.heads.selection import ALL_ITEMS, HeadLosses, head_logits, judged_rows
from spice_keras.heads.semantic_clustering import MakeSemanticCenters, SemanticClustering
from spice_keras.heads.semantic_space import SemanticSpace, fitted_semantic_space
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.heads.starts import (
    fit_heads,
    soften,
    start_at_centers,
    start_at_centroids,
    start_centroids,
    start_clusters,
)
from spice_keras.options import (
    CLAIM_EVENNESS,
    ENTROPY_WEIGHTS,
    SIC_ENTROPY_WEIGHTS,
    SelfVariant,
    Sizes,
    Start,
)
from spice_keras.scratch import give_back
from spice_keras.training.loop import compile_for_device
from spice_keras.training.optimizers import FusedAdam
from spice_keras.words.guide import WordGuide

Batches = Callable[[int], Iterable[dict[str, tf.Tensor]]]
"""First epoch to the batches from there on."""


@dataclass(frozen=True)
class HeadOptions:
    """What all objectives have in common.

    Attributes:
        num_clusters: K.
        num_heads: Independent heads H.
        start: Where they begin.
        epochs: Passes over the items.
        learning_rate: Learning rate of Adam.
        seed: Seed of weights, starts and batches.
        guide: Words that cover the items. All heads begin at their clusters in place of `start`;
            under neighbour consistency they learn their labels too. None to go by `start`.
    """

    num_clusters: int
    num_heads: int = 10
    start: Start = "random"
    epochs: int = 30
    learning_rate: float = 0.001
    seed: int = 0
    guide: WordGuide | None = None


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
        callbacks: What the model needs while it is fitted.
        judged: Items whose logits `losses` is given, int64 [R]; empty for all of them.
    """

    model: SpiceSelf | NeighborClustering
    batches: Batches
    losses: HeadLosses
    steps_per_epoch: int
    items_per_step: int
    scores: HeadScores | None = None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    judged: np.ndarray = field(default_factory=lambda: ALL_ITEMS)

    def judged_features(self, features: np.ndarray) -> np.ndarray:
        """Return the features [R, D] of the items that the heads are judged on."""
        return judged_rows(features, self.judged)


_JUDGED_BYTES = 2**29  # of all heads' logits; beyond, heads are judged on a draw of the items
_STARTED_ROWS, _STARTED_PER_CLUSTER = 70_000, 40  # items that starts are found on


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
    groups = _entropy_weights(sizes, guided=heads.guide is not None)
    if entropy_weight is not None:
        groups = (entropy_weight,)
    weights = [weight for weight in groups for _ in range(heads.num_heads)]
    model = (NeighborClustering if heads.guide is None else GuidedClustering)(
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
        scores = partial(
            head_scores,
            neighbors=neighbors,
            rows=bank.normalized,
            groups=len(groups),
            num_clusters=heads.num_clusters,
        )
    labels = None if heads.guide is None else heads.guide.labels
    batches = _pairs(bank.views("weak", "strong"), neighbors, batch_size, heads, labels)

    judged, theirs = _judged_pairs(neighbors, model.num_heads * heads.num_clusters, heads.seed)

    def losses(logits: np.ndarray) -> np.ndarray:
        return neighbor_head_losses(logits, theirs, weights)

    return SelfLabeling(
        model, batches, losses, num_items // batch_size, batch_size, scores, judged=judged
    )


def _drawn(num_items: int, count: int, seed: int) -> np.ndarray:
    """Some of the items, in order."""
    return np.sort(np.random.default_rng(seed).choice(num_items, count, replace=False))


def _judged_pairs(
    neighbors: np.ndarray, num_logits: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Items whose logits all fit, and the places of their neighbours among them.

    The items that are judged come first; their neighbours follow. Empty, for all items, if the
    logits of all fit.
    """
    num_items, width = neighbors.shape
    fitting = _JUDGED_BYTES // (4 * num_logits)
    if num_items <= fitting:
        return ALL_ITEMS, neighbors
    first = _drawn(num_items, max(1, fitting // (1 + width)), seed)
    theirs = np.asarray(neighbors[first])
    judged = np.concatenate([first, np.setdiff1d(theirs, first)])
    order = np.argsort(judged, kind="stable")
    return judged, order[np.searchsorted(judged, theirs, sorter=order)]


def _entropy_weights(sizes: Sizes, *, guided: bool) -> tuple[float, ...]:
    """A weight for each group of heads; words keep clusters from emptying too."""
    return ENTROPY_WEIGHTS["uneven"] if guided and sizes == "even" else ENTROPY_WEIGHTS[sizes]


def _pairs(
    views: FeatureViews,
    neighbors: np.ndarray,
    batch_size: int,
    heads: HeadOptions,
    labels: np.ndarray | None = None,
) -> Batches:
    def batches(first_epoch: int) -> tf.data.Dataset:
        return neighbor_batches(
            views,
            neighbors,
            batch_size=batch_size,
            seed=heads.seed,
            first_epoch=first_epoch,
            epochs=heads.epochs - first_epoch,
            labels=labels,
        )

    return batches


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
    soften(classifier, head_logits(classifier, labeling.judged_features(bank.features)))
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
        variant: What to do differently from the paper. Its sizes "auto" train as many heads again,
            from the same starts.
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
        num_heads=heads.num_heads * len(CLAIM_EVENNESS[variant.sizes] or (None,)),
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

    judged = _judged_items(num_items, model.num_heads, heads)
    rows = judged_rows(bank.normalized, judged)
    give_back(bank.normalized)

    def losses(logits: np.ndarray) -> np.ndarray:
        return head_losses(
            rows,
            logits,
            options.confident_ratio,
            loss=variant.loss,
            assignment=variant.assignment,
            entropy_weight=variant.entropy_weight,
            sizes=variant.sizes,
        )

    batches = image_batches or _cached_batches(bank, heads, large_batch)
    scores = _loss_scores(bank, heads) if variant.sizes == "auto" else None
    return SelfLabeling(
        model, batches, losses, num_items // large_batch, large_batch, scores, judged=judged
    )


def _judged_items(num_items: int, num_heads: int, heads: HeadOptions) -> np.ndarray:
    """A draw of the items, int64 [R], if the logits of all would take too much; else all."""
    fitting = _JUDGED_BYTES // (4 * num_heads * heads.num_clusters)
    return _drawn(num_items, fitting, heads.seed) if num_items > fitting else ALL_ITEMS


def _loss_scores(bank: FeatureBank, heads: HeadOptions) -> HeadScores:
    """What chooses between heads for even clusters and for uneven ones."""
    return partial(loss_scores, rows=bank.normalized, num_clusters=heads.num_clusters)


@dataclass(frozen=True)
class SemanticOptions:
    """What SIC is made of; the defaults are those of the released code.

    Its heads are one linear head, trained for 100 epochs at a learning rate of 1e-4 from random
    weights: `HeadOptions(K, num_heads=1, epochs=100, learning_rate=1e-4)`.

    Attributes:
        words_per_center: gamma_r, nouns near each centre of k-means that are taken into account.
        uniqueness: gamma_u in [0, 1]; nouns whose cosine to the mean of all nouns is not below
            1 - gamma_u are left out.
        confident_ratio: xi_c in (0, 1], the share of an even cluster that makes its image centre.
        words_per_cluster: xi_a, nouns that make a semantic centre.
        num_neighbors: Nearest neighbours that an image's partner is drawn from, beside itself.
        sizes: Whether clusters should be about equally large. If not, an image centre is made by as
            many images as its cluster is large. "auto" trains as many heads again, and decides.
        entropy_weight: lambda, weight of the entropy of the mean prediction; None for that of
            `sizes`.
        label_weight: beta, weight of the cross-entropy with the labels of the semantic centres.
        temperature: Of softened labels, above 0; None for the most similar centre alone.
        weight_decay: L2 penalty inside the gradient.
        batch_size: Pairs a step, at most N.
        unit_features: Whether images count at unit length. If not, as released, heads read the
            features as they are and neighbours are the nearest by Euclidean distance. If so, heads
            read them in the bank's space, and neighbours are the bank's.
        start_alpha: For a start that is not random: probabilities begin at
            softmax(-alpha |u - M_k|^2). None for the alpha that makes the largest of them .7 on
            average.
    """

    words_per_center: int = 500
    uniqueness: float = 0.05
    confident_ratio: float = 0.9
    words_per_cluster: int = 30
    num_neighbors: int = 20
    sizes: Sizes = "even"
    entropy_weight: float | None = None
    label_weight: float = 0.1
    temperature: float | None = None
    weight_decay: float = 1e-4
    batch_size: int = 128
    unit_features: bool = False
    start_alpha: float | None = 0.05


def sic_labeling(
    bank: FeatureBank, heads: HeadOptions, options: SemanticOptions, word_vectors: np.ndarray
) -> SelfLabeling:
    """Bind SIC to a feature bank and the nouns of a vocabulary.

    The head of smallest loss after the last epoch is kept; the released code stops by the accuracy
    on test labels instead.

    Args:
        bank: The features, in the space of the words; every cached view is used.
        heads: The heads.
        options: The objective.
        word_vectors: Of the nouns, as the text encoder gives them, float32 [W, D].

    Returns:
        The objective. `fit` needs its callbacks.

    Raises:
        UserError: If the words have another width than the features, or no word passes SIC's
            filters.

    SIC (arXiv 2208.09849).
    """
    num_items, dim = bank.features.shape
    batch_size = min(options.batch_size, num_items)
    neighbors = _with_itself(bank, options)
    space = _semantic_space(bank, heads, options, word_vectors)
    weights = _semantic_weights(heads, options)
    model = SemanticClustering(
        heads.num_clusters,
        dim,
        num_heads=len(weights),
        input_scale=bank.space if options.unit_features else "none",
        entropy_weight=weights,
        label_weight=options.label_weight,
        temperature=options.temperature,
        weight_decay=options.weight_decay,
        seed=heads.seed,
    )
    clusters = _clusters_at_start(bank, heads)
    if clusters is not None:
        clusters = np.tile(clusters, (model.num_heads // heads.num_heads, 1))
        start_at_centers(model.classifier, bank.features, clusters, alpha=options.start_alpha)
    _compile(model, FusedAdam(heads.learning_rate, epsilon=1e-8))
    return SelfLabeling(
        model,
        _pairs(bank.views("weak", "strong"), neighbors, batch_size, heads),
        partial(
            semantic_head_losses,
            neighbors=neighbors,
            space=space,
            entropy_weight=weights,
            label_weight=options.label_weight,
            temperature=options.temperature,
        ),
        num_items // batch_size,
        batch_size,
        _loss_scores(bank, heads) if options.sizes == "auto" else _by_loss,
        (MakeSemanticCenters(bank.features, space),),
    )


_RESTARTS = 20


def _by_loss(clusters: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Scores by which the head of smallest loss is kept."""
    return -losses


def _semantic_weights(heads: HeadOptions, options: SemanticOptions) -> list[float]:
    """Weight of the entropy for each head, group by group."""
    groups = SIC_ENTROPY_WEIGHTS[options.sizes]
    if options.entropy_weight is not None:
        groups = (options.entropy_weight,) * len(groups)
    return [weight for weight in groups for _ in range(heads.num_heads)]


def _semantic_space(
    bank: FeatureBank, heads: HeadOptions, options: SemanticOptions, word_vectors: np.ndarray
) -> SemanticSpace:
    features = l2_normalized(bank.features) if options.unit_features else bank.features
    clustered = bank.normalized if options.unit_features else bank.features
    return fitted_semantic_space(
        features,
        word_vectors,
        kmeans_clusters(clustered, heads.num_clusters, seed=heads.seed, num_init=_RESTARTS),
        words_per_center=options.words_per_center,
        uniqueness=options.uniqueness,
        confident_ratio=options.confident_ratio,
        words_per_cluster=options.words_per_cluster,
        sizes=options.sizes,
    )


def _with_itself(bank: FeatureBank, options: SemanticOptions) -> np.ndarray:
    """Each item and its nearest neighbours, [N, 1 + n]."""
    columns = 1 + min(options.num_neighbors, len(bank.features) - 1)
    if not options.unit_features:
        return euclidean_neighbors(bank.features, columns)
    if bank.head_neighbors.shape[1] < columns - 1:
        return bank.search(bank.normalized, columns)
    own = np.arange(len(bank.features), dtype=np.int32)[:, np.newaxis]
    return np.concatenate([own, bank.head_neighbors[:, : columns - 1]], axis=1)


def _start_heads(
    model: SpiceSelf | NeighborClustering, bank: FeatureBank, heads: HeadOptions
) -> None:
    """Bring the heads to the clusters they start from: exactly if linear, by training if not.

    Of very many items a draw says where the clusters lie.
    """
    num_items = len(bank.features)
    enough = max(_STARTED_ROWS, _STARTED_PER_CLUSTER * heads.num_clusters)
    if num_items > enough and (heads.start != "random" or heads.guide is not None):
        rows = _drawn(num_items, enough, heads.seed)
        heads = replace(heads, guide=None if heads.guide is None else heads.guide.of(rows))
        bank = bank.alone(rows)
    clusters = _clusters_at_start(bank, heads)
    if clusters is None:
        return
    # Every group of heads has the same starts.
    clusters = np.tile(clusters, (model.num_heads // heads.num_heads, 1))
    if model.classifier.linear:
        centroids = start_centroids(bank, heads.num_clusters, clusters)
        start_at_centroids(model.classifier, bank.normalized, centroids)
    else:
        fit_heads(model.classifier, bank.features, clusters, seed=heads.seed)


def _clusters_at_start(bank: FeatureBank, heads: HeadOptions) -> np.ndarray | None:
    """Clusters of each head [H, N]; None to stay at random weights."""
    if heads.guide is not None:
        return np.tile(heads.guide.clusters, (heads.num_heads, 1))
    return start_clusters(
        bank, heads.start, heads.num_clusters, num_heads=heads.num_heads, seed=heads.seed
    )


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

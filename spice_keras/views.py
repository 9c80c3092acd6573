"""Batches for the models, from arrays: what `fit` of MoCo, SpiceSelf and SpiceSemi trains on.

Each function returns a `tf.data.Dataset` of one pass over the data. Every further pass, so every
epoch of `fit`, brings another order and other views; which ones depends on the seed and on the
number of the pass alone. With `fixed=True` every pass is the same, as validation needs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.augment.policies import Policy, build_policy
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.data.batches import semi_batches, steps_per_epoch, training_batches
from spice_keras.data.feature_batches import FeatureViews, prototype_batches
from spice_keras.data.neighbor_batches import neighbor_batches
from spice_keras.options import PolicyOptions

View = str | PolicyOptions | Policy
"""An augmentation: a policy's name, its options, or a function of images and a seed."""


def moco_views(
    images: np.ndarray,
    *,
    policy: View = "moco",
    batch_size: int = 256,
    seed: int = 0,
    first_epoch: int = 0,
    fixed: bool = False,
) -> tf.data.Dataset:
    """Two views of each image, for `MoCo`.

    Args:
        images: uint8 [N, S, S, 3], in memory or memory-mapped.
        policy: What draws both views.
        batch_size: Images of a batch (B), at most N.
        seed: Seed of the order and of the views.
        first_epoch: Number of the first pass, to go on where another fit ended.
        fixed: Make every pass the same.

    Returns:
        N // B batches {"query", "key"}, uint8 [B, S, S, 3], and "index", int64 [B], the rows.

    Raises:
        ValueError: For images of another kind or a batch larger than the data.

    Example:
        >>> import numpy as np
        >>> batches = moco_views(np.zeros((8, 16, 16, 3), np.uint8), batch_size=4)
        >>> len(batches), sorted(next(iter(batches)))
        (2, ['index', 'key', 'query'])

    MoCo v2 (arXiv 2003.04297) Sec. 2.
    """
    view = _policy(policy)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return training_batches(
            images,
            views={"query": view, "key": view},
            batch_size=batch_size,
            seed=seed,
            first_epoch=number,
            epochs=1,
        )

    return _passes(epoch, steps_per_epoch(len(images), batch_size), first_epoch, fixed)


def self_views(
    images: np.ndarray,
    embeddings: np.ndarray,
    *,
    weak: View = "weak",
    strong: View = "spice",
    batch_size: int = 1000,
    seed: int = 0,
    first_epoch: int = 0,
    fixed: bool = False,
) -> tf.data.Dataset:
    """A weak and a strong view of each image with its embedding, for `SpiceSelf` with an encoder.

    Args:
        images: uint8 [N, S, S, 3], in memory or memory-mapped.
        embeddings: The encoder's features of the images as they are, real numbers [N, D];
            brought to unit length here.
        weak: What draws the view that is labelled.
        strong: What draws the view that is trained on.
        batch_size: Images of a batch (M), at most N; ten or more for each cluster.
        seed: Seed of the order and of the views.
        first_epoch: Number of the first pass, to go on where another fit ended.
        fixed: Make every pass the same.

    Returns:
        N // M batches {"embedding", "weak", "strong"}: float32 [M, D] and twice uint8
        [M, S, S, 3], and "index", int64 [M], the rows.

    Raises:
        ValueError: For images of another kind, embeddings of other images, or a batch larger than
            the data.

    SPICE (arXiv 2103.09382) Sec. 3.2.
    """
    views = {"weak": _policy(weak), "strong": _policy(strong)}
    unit = l2_normalized(np.asarray(embeddings, np.float32))

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return training_batches(
            images,
            views=views,
            batch_size=batch_size,
            seed=seed,
            first_epoch=number,
            epochs=1,
            extras={"embedding": unit},
        )

    return _passes(epoch, steps_per_epoch(len(images), batch_size), first_epoch, fixed)


def self_feature_views(
    features: np.ndarray,
    *,
    weak: np.ndarray | None = None,
    strong: np.ndarray | None = None,
    batch_size: int = 1000,
    seed: int = 0,
    first_epoch: int = 0,
    fixed: bool = False,
) -> tf.data.Dataset:
    """Features of samples and of their views, for `SpiceSelf` without an encoder.

    Args:
        features: Features of the samples as they are, real numbers [N, D].
        weak: Features of V weak views of each sample, [V, N, D], each equally likely; None for
            the features themselves.
        strong: Features of the strong views, likewise.
        batch_size: Samples of a batch (M), at most N; ten or more for each cluster.
        seed: Seed of the order and of the choice of views.
        first_epoch: Number of the first pass, to go on where another fit ended.
        fixed: Make every pass the same.

    Returns:
        N // M batches {"embedding", "weak", "strong"}, float32 [M, D].

    Raises:
        ValueError: For views of other samples or a batch larger than the data.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(40, 8))
        >>> next(iter(self_feature_views(features, batch_size=20)))["strong"].shape
        TensorShape([20, 8])

    SPICE (arXiv 2103.09382) Sec. 3.2: the CNN is fixed, so its features can be kept.
    """
    features = np.asarray(features, np.float32)
    kinds = {
        name: FeatureViews([features[np.newaxis] if views is None else views])
        for name, views in (("weak", weak), ("strong", strong))
    }
    unit = l2_normalized(features)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return prototype_batches(
            unit, **kinds, batch_size=batch_size, seed=seed, first_epoch=number, epochs=1
        )

    return _passes(epoch, steps_per_epoch(len(features), batch_size), first_epoch, fixed)


def neighbor_views(
    features: np.ndarray,
    *,
    num_neighbors: int = 10,
    views: np.ndarray | None = None,
    batch_size: int = 256,
    seed: int = 0,
    first_epoch: int = 0,
    fixed: bool = False,
) -> tf.data.Dataset:
    """Pairs of neighbours by cosine similarity, for `NeighborClustering`.

    Args:
        features: Features of the samples, real numbers [N, D].
        num_neighbors: Nearest neighbours of each sample that its partner is drawn from, the
            sample itself not among them; less than N.
        views: Features of V further views of each sample, [V, N, D], which samples and partners
            are drawn from as well; None for the features alone.
        batch_size: Pairs of a batch (B), at most N.
        seed: Seed of the order, the partners and the choice of views.
        first_epoch: Number of the first pass, to go on where another fit ended.
        fixed: Make every pass the same.

    Returns:
        N // B batches {"anchor", "neighbor"}, float32 [B, D].

    Raises:
        ValueError: For views of other samples, or more neighbours or a larger batch than there
            are samples.

    SCAN (arXiv 2005.12320) Sec. 2.2.
    """
    features = np.asarray(features, np.float32)
    if not 1 <= num_neighbors < len(features):
        raise ValueError(
            f"Expected num_neighbors in 1..{len(features) - 1}, the other samples. "
            f"Received: num_neighbors={num_neighbors}"
        )
    known = FeatureViews([features[np.newaxis], *([] if views is None else [views])])
    neighbors = nearest_neighbors(l2_normalized(features), num_neighbors + 1)[:, 1:]

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return neighbor_batches(
            known, neighbors, batch_size=batch_size, seed=seed, first_epoch=number, epochs=1
        )

    return _passes(epoch, steps_per_epoch(len(features), batch_size), first_epoch, fixed)


def semi_views(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    weak: View = "weak",
    strong: View = "spice",
    labeled_batch: int = 64,
    unlabeled_batch: int = 448,
    seed: int = 0,
    first_epoch: int = 0,
    fixed: bool = False,
) -> tf.data.Dataset:
    """Labelled images, and all images weak and strong, for `SpiceSemi`.

    Args:
        images: uint8 [N, S, S, 3], in memory or memory-mapped.
        labels: Cluster of each image whose label is reliable, -1 for the others; integers [N].
        weak: What draws the views of labelled images and the view that is labelled.
        strong: What draws the view that is trained on.
        labeled_batch: Labelled images of a batch (B), every cluster equally often, drawn with
            replacement.
        unlabeled_batch: Images of a batch taken from all (U), at most N.
        seed: Seed of the order, the draws and the views.
        first_epoch: Number of the first pass, to go on where another fit ended.
        fixed: Make every pass the same.

    Returns:
        N // U batches {"labeled", "label", "weak", "strong"}: uint8 [B, S, S, 3], int32 [B] and
        twice uint8 [U, S, S, 3].

    Raises:
        ValueError: For images or labels of another kind, no label at all, or a batch larger than
            the data.

    SPICE (arXiv 2103.09382) Eq. 6, Sec. 3.3.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            "Expected one integer label for each image, -1 if it has none. Received: "
            f"labels of dtype {labels.dtype} and shape {labels.shape} for {len(images)} images"
        )
    rows = np.flatnonzero(labels >= 0)
    views = {"weak": _policy(weak), "strong": _policy(strong)}
    steps = steps_per_epoch(len(images), unlabeled_batch)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return semi_batches(
            images,
            labeled_indices=rows,
            labels=labels[rows],
            views=views,
            labeled_batch=labeled_batch,
            unlabeled_batch=unlabeled_batch,
            seed=seed,
            first_step=number * steps,
            num_steps=steps,
        )

    return _passes(epoch, steps, first_epoch, fixed)


def _policy(view: View) -> Policy:
    return build_policy(view) if isinstance(view, str | PolicyOptions) else view


def _passes(
    epoch: Callable[[tf.Tensor], tf.data.Dataset], steps: int, first_epoch: int, fixed: bool
) -> tf.data.Dataset:
    """One epoch a pass: the next one each time, or always the first."""
    numbers = itertools.repeat(first_epoch) if fixed else itertools.count(first_epoch)

    def number(_: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(lambda: np.int64(next(numbers)), [], tf.int64, stateful=True)
        return tf.ensure_shape(found, [])

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # see `step_dataset`; options within a pass do not count
    batches = tf.data.Dataset.range(1).map(number).flat_map(epoch).with_options(options)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(1)

"""Batches: every one a pure function of (seed, epoch, step), so a run resumes at any step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from spice_keras.data.stateless import balanced_draw, shuffled_rows, step_seed, uniform_draw
from spice_keras.data.step_dataset import mapped, read_rows, step_dataset

if TYPE_CHECKING:
    from spice_keras.augment.policies import Policy


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Whole batches in one pass over the data: ``num_images // batch_size``.

    Args:
        num_images: size N of the data set.
        batch_size: images a batch, in 1..N.

    Returns:
        The number of steps; the remainder of each pass is left out, a different one each pass.

    Raises:
        ValueError: when the batch is empty or larger than the data.
    """
    if batch_size < 1:
        raise ValueError(f"A batch needs at least one image. Received: batch_size={batch_size}")
    if batch_size > num_images:
        raise ValueError(
            f"A batch cannot be larger than the data: expected a batch size of at most "
            f"{num_images}, the number of images. Received: batch_size={batch_size}. "
            "Choose a smaller batch or give more images."
        )
    return num_images // batch_size


def training_batches(
    images: np.ndarray,
    *,
    views: Mapping[str, Policy],
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    first_step: int = 0,
    epochs: int | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Shuffled passes over the images, each batch with one augmented copy per view.

    Args:
        images: uint8 [N, S, S, 3], in memory or memory-mapped.
        views: name of a view -> the policy that draws it; each view has its own random stream,
            which hangs on its name and not on its place in the mapping.
        batch_size: images a batch (B), in 1..N.
        seed: any integer; with the epoch and the step it fixes the batch.
        first_epoch: epoch of the first batch, from 0.
        first_step: step of the first batch within ``first_epoch``, in 0..N // B.
        epochs: epochs to give, counted from ``first_epoch``; None never ends.
        extras: further arrays [N, ...] whose rows travel with their images.

    Returns:
        A data set of {"index": int64 [B], view: uint8 [B, S, S, 3], extra: [B, ...]}; an epoch
        is N // B batches in which no image comes twice.

    Raises:
        ValueError: for images of another kind, extras of another length, names used twice, or
            a batch larger than the data.
    """
    _check_images(images)
    extras = dict(extras or {})
    _check_extras(extras, views, len(images))
    steps = steps_per_epoch(len(images), batch_size)
    if not 0 <= first_step <= steps:
        raise ValueError(
            f"Expected a first step in 0..{steps}, the steps of an epoch. "
            f"Received: first_step={first_step}"
        )

    def batch(step: tf.Tensor) -> dict[str, tf.Tensor]:
        index = shuffled_rows(step, len(images), batch_size, seed=seed, stream="order")
        originals = _rows(images, index)
        result = {"index": index}
        for name, policy in views.items():
            result[name] = _view(policy, originals, step_seed(seed, "view " + name, step))
        for name, array in extras.items():
            result[name] = _rows(array, index)
        return result

    start = first_epoch * steps + first_step
    stop = None if epochs is None else (first_epoch + epochs) * steps
    return step_dataset(batch, start, stop)


def semi_batches(
    images: np.ndarray,
    *,
    labeled_indices: np.ndarray,
    labels: np.ndarray,
    views: Mapping[str, Policy],
    labeled_batch: int,
    unlabeled_batch: int,
    seed: int,
    first_step: int = 0,
    num_steps: int | None = None,
    class_balanced: bool = True,
) -> tf.data.Dataset:
    """SPICE-Semi's two streams: reliably labelled images, and all images weak and strong.

    Args:
        images: uint8 [N, S, S, 3]; all of them are the unlabelled set.
        labeled_indices: integers [R], the rows of ``images`` with a reliable label.
        labels: integers [R], their clusters.
        views: the policies "weak" and "strong"; labelled images get a weak view too.
        labeled_batch: labelled images a batch (B), drawn with replacement, so B may exceed R.
        unlabeled_batch: unlabelled images a batch (U), in 1..N, in shuffled passes.
        seed: any integer; with the step it fixes the batch.
        first_step: step of the first batch, from 0.
        num_steps: batches to give, counted from ``first_step``; None never ends.
        class_balanced: draw every cluster that has a label equally often; otherwise every
            labelled image is equally likely.

    Returns:
        A data set of {"labeled": uint8 [B, S, S, 3], "label": int32 [B],
        "weak": uint8 [U, S, S, 3], "strong": uint8 [U, S, S, 3]}.

    Raises:
        ValueError: for images of another kind, no or mismatched labels, missing views, or an
            unlabelled batch larger than the data.

    SPICE (arXiv 2103.09382) Eq. 6, Sec. 3.3.
    """
    _check_images(images)
    _check_labels(labeled_indices, labels, len(images))
    if set(views) != {"weak", "strong"}:
        raise ValueError(
            f'Expected exactly the views "weak" and "strong". Received: views={sorted(views)}'
        )
    if labeled_batch < 1:
        raise ValueError(
            f"A batch needs at least one labelled image. Received: labeled_batch={labeled_batch}"
        )
    steps_per_epoch(len(images), unlabeled_batch)
    draw = balanced_draw if class_balanced else uniform_draw
    rows, clusters, starts, counts = _by_cluster(labeled_indices, labels)

    def batch(step: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = draw(step, labeled_batch, seed=seed, starts=starts, counts=counts)
        labeled = _rows(images, tf.gather(rows, drawn))
        index = shuffled_rows(
            step, len(images), unlabeled_batch, seed=seed, stream="unlabeled order"
        )
        unlabeled = _rows(images, index)
        weak, strong = views["weak"], views["strong"]
        return {
            "labeled": _view(weak, labeled, step_seed(seed, "view labeled", step)),
            "label": tf.gather(clusters, drawn),
            "weak": _view(weak, unlabeled, step_seed(seed, "view weak", step)),
            "strong": _view(strong, unlabeled, step_seed(seed, "view strong", step)),
        }

    stop = None if num_steps is None else first_step + num_steps
    return step_dataset(batch, first_step, stop)


def inference_batches(
    images: np.ndarray, batch_size: int, *, view: Policy | None = None, seed: int = 0
) -> tf.data.Dataset:
    """All images once, in order; the last batch may be smaller.

    Args:
        images: uint8 [N, S, S, 3], in memory or memory-mapped.
        batch_size: images a batch (B), at least 1; may exceed N.
        view: what they are seen through; None leaves them as they are.
        seed: of the view; any integer.

    Returns:
        A data set of {"image": uint8 [<=B, S, S, 3]}.

    Raises:
        ValueError: for images of another kind or a batch size below 1.
    """
    _check_images(images)
    if batch_size < 1:
        raise ValueError(f"A batch needs at least one image. Received: batch_size={batch_size}")

    def batch(start: tf.Tensor) -> dict[str, tf.Tensor]:
        stop = tf.minimum(start + batch_size, len(images))
        rows = _rows(images, tf.range(start, stop))
        return {
            "image": rows if view is None else _view(view, rows, step_seed(seed, "view", start))
        }

    starts = tf.data.Dataset.range(0, len(images), batch_size)
    return mapped(starts, batch)


def _by_cluster(
    labeled_indices: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort the labelled set by cluster: rows and labels [R], starts and counts [K]."""
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rows = np.asarray(labeled_indices, np.int64)[order]
    return rows, np.asarray(labels, np.int32)[order], starts, counts


def _rows(array: np.ndarray, index: tf.Tensor) -> tf.Tensor:
    """Gather rows outside the graph."""
    rows = read_rows(_gathered, [array], [index], tf.dtypes.as_dtype(array.dtype))
    rows.set_shape([*index.shape, *array.shape[1:]])
    return rows


def _gathered(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array[rows])


def _view(policy: Policy, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draw one augmented copy of each image, of the same shape and type."""
    view = policy(images, seed)
    if view.dtype != tf.uint8 or not view.shape.is_compatible_with(images.shape):
        raise ValueError(
            f"A policy must return uint8 images of the shape it got, {images.shape}. "
            f"Received: dtype={view.dtype.name}, shape={view.shape}"
        )
    return tf.ensure_shape(view, images.shape)


def _check_images(images: Any) -> None:
    """Refuse anything but uint8 [N, S, S, 3]."""
    shape = tuple(images.shape)
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise ValueError(
            "Expected images of dtype uint8 and shape [N, S, S, 3]. "
            f"Received: dtype={images.dtype}, shape={shape}"
        )


def _check_extras(
    extras: Mapping[str, np.ndarray], views: Mapping[str, Policy], num_images: int
) -> None:
    """Refuse extras that do not belong row by row to the images, and names used twice."""
    taken = {"index", *extras} & set(views) | {"index"} & set(extras)
    if taken:
        raise ValueError(
            f'Views, extras and "index" need different names. Received: {sorted(taken)} twice'
        )
    for name, array in extras.items():
        if len(array) != num_images:
            raise ValueError(
                f"Expected one row an image, {num_images} rows. "
                f"Received: extras[{name!r}].shape={array.shape}"
            )


def _check_labels(labeled_indices: np.ndarray, labels: np.ndarray, num_images: int) -> None:
    """Refuse an empty labelled set, labels that do not match it, and rows out of range."""
    if labeled_indices.ndim != 1 or labeled_indices.shape != labels.shape:
        raise ValueError(
            "Expected labelled indices and labels of one shape [R]. Received: "
            f"labeled_indices.shape={labeled_indices.shape}, labels.shape={labels.shape}"
        )
    if not len(labels):
        raise ValueError("Expected at least one labelled image. Received: labels=[]")
    if labeled_indices.min() < 0 or labeled_indices.max() >= num_images:
        raise ValueError(
            f"Expected labelled indices in 0..{num_images - 1}. Received: "
            f"{labeled_indices.min()}..{labeled_indices.max()}"
        )

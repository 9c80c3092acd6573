"""Embeddings of the un-augmented images, each one's nearest neighbours, and cached views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.augment.policies import Policy, build_policy
from spice_keras.data.batches import inference_batches
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.progress import Task
from spice_keras.run.context import Context
from spice_keras.stages.encoder import load_encoder

_BATCH = 128
_LARGEST = float(np.finfo(np.float16).max)


def _encode_in_order(
    encoder: keras.Model, images: np.ndarray, task: Task, view: Policy | None = None, seed: int = 0
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their features, batch by batch."""
    start = 0
    for batch in inference_batches(images, _BATCH, view=view, seed=seed):
        features = encoder.predict_on_batch(batch["image"])
        yield slice(start, start + len(features)), features
        start += len(features)
        task.advance(len(features))


def encode_images(encoder: keras.Model, images: np.ndarray, task: Task) -> np.ndarray:
    """Return the features of un-augmented images, float32 [N, D], moving a bar."""
    features = np.empty((len(images), encoder.output_shape[-1]), np.float32)
    for rows, batch in _encode_in_order(encoder, images, task):
        features[rows] = batch
    return features


def _write_views(
    path: Path, context: Context, encoder: keras.Model, policy: Policy, count: int, task: Task
) -> None:
    """Write features of `count` augmented copies, float16 [count, N, D]; nothing for none."""
    if not count:
        return
    shape = (count, len(context.images), encoder.output_shape[-1])
    views = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for number in range(count):
        seed = context.seed(f"{path.stem} view {number}")
        for rows, features in _encode_in_order(encoder, context.images, task, policy, seed):
            views[number, rows] = np.clip(features, -_LARGEST, _LARGEST)
    views.flush()


def embed(context: Context) -> None:
    """Encode every image, and the cached views if asked, and write the artifact `embeddings`.

    Without images the features are those of the file of embeddings.

    Args:
        context: The run; its encoder is there.
    """
    if context.has_images:
        _embed_images(context)
        return
    neighbors = context.neighbor_search(
        l2_normalized(context.given_features), _num_columns(context)
    )
    with context.run.write("embeddings", stage="embed") as target:
        np.save(target / "neighbors.npy", neighbors, allow_pickle=False)


def _num_columns(context: Context) -> int:
    """Neighbours to find, the item itself among them: for reliability, and for the heads."""
    plan = context.plan
    return min(
        plan.num_images, max(plan.reliable.num_neighbors, 1 + plan.self_labeling.num_neighbors)
    )


def _embed_images(context: Context) -> None:
    config, images = context.config, context.images
    section = config.self_labeling
    folder = context.run.read("encoder", written_by="pretrain")
    encoder = load_encoder(folder, config.backbone, image_size=config.data.image_size)
    counts = {"weak": 0, "strong": 0}
    if section.cached_views is not None:
        counts = {"weak": section.cached_views.weak, "strong": section.cached_views.strong}
    with (
        context.screen.task("embed", len(images) * (1 + sum(counts.values()))) as task,
        context.run.write("embeddings", stage="embed") as target,
    ):
        features = encode_images(encoder, images, task)
        neighbors = context.neighbor_search(l2_normalized(features), _num_columns(context))
        np.save(target / "features.npy", features, allow_pickle=False)
        np.save(target / "neighbors.npy", neighbors, allow_pickle=False)
        for name, policy in (("weak", section.weak), ("strong", section.strong)):
            path = target / f"{name}.npy"
            _write_views(path, context, encoder, build_policy(policy), counts[name], task)
    context.screen.detail(f"embed: {features.shape[0]} images, {features.shape[1]} features.")


def _read_views(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if not path.exists():
        return np.empty((0, *shape), np.float16)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_embeddings(context: Context) -> FeatureBank:
    """Read the artifact `embeddings`."""
    folder = context.read("embeddings", written_by="self")
    if context.has_images:
        features = np.load(folder / "features.npy", allow_pickle=False)
    else:
        features = context.given_features
    neighbors = np.load(folder / "neighbors.npy", allow_pickle=False)
    weak, strong = (
        _read_views(folder / f"{name}.npy", features.shape) for name in ("weak", "strong")
    )
    plan = context.plan
    return FeatureBank(
        features,
        l2_normalized(features),
        neighbors[:, : plan.reliable.num_neighbors],
        neighbors[:, 1 : 1 + plan.self_labeling.num_neighbors],
        weak,
        strong,
        context.neighbor_search,
    )

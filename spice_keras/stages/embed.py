"""Embeddings of the un-augmented images, each one's nearest neighbours, and cached views."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from spice_keras.algorithm.feature_space import FeatureSpace, fitted_space
from spice_keras.augment.policies import Policy, build_policy
from spice_keras.errors import UserError
from spice_keras.files import allocate
from spice_keras.options import FAST_SIDE
from spice_keras.progress import Task, clock
from spice_keras.run.context import Context
from spice_keras.run.estimate import stage_seconds
from spice_keras.run.networks import pretrained_encoder
from spice_keras.run.store import Embeddings
from spice_keras.training.encoding import encode_images, encoded_batches

_TIMED_IMAGES, _WORTH_TELLING = 32, 500
_COMPARED = 4096  # rows looked at together
_LARGEST = float(np.finfo(np.float16).max)


def embed(context: Context) -> None:
    """Encode every image, and the cached views if asked, and write the artifact `embeddings`.

    Without images the features are those of the file of embeddings.

    Args:
        context: The run; its encoder is there.
    """
    if context.has_images:
        _embed_images(context)
    else:
        context.save(_compared(context, context.given_features))


def _compared(context: Context, features: np.ndarray) -> Embeddings:
    """Choose the space of these features, and find everyone's neighbours there."""
    refuse_too_few_kinds(features, context.config.num_clusters)
    space = fitted_space(features, context.config.head_input_scale)
    if space.is_centered:
        context.screen.detail(f"embed: features are compared in the space {space.scale}.")
    return Embeddings(neighbors_in(context, features, space), space=space)


def refuse_too_few_kinds(features: np.ndarray, num_clusters: int) -> None:
    """Refuse more clusters than there are distinct items.

    Args:
        features: Of all items, [N, D].
        num_clusters: K.

    Raises:
        UserError: If fewer than K rows differ.
    """
    seen: set[bytes] = set()
    for start in range(0, len(features), _COMPARED):
        block = np.asarray(features[start : start + _COMPARED], np.float32)
        seen.update(row.tobytes() for row in block)
        if len(seen) >= num_clusters:
            return
    if len(seen) == 1:
        raise UserError(
            f"All {len(features)} items have the same features, so there is nothing to group; "
            "check the images or the file of embeddings."
        )
    raise UserError(
        f"There cannot be more clusters than distinct items: {len(features)} items have only "
        f"{len(seen)} different features, and {num_clusters} clusters were asked for. Ask for at "
        f"most {len(seen)} with --clusters."
    )


def neighbors_in(context: Context, features: np.ndarray, space: FeatureSpace) -> np.ndarray:
    """Find neighbours, the item itself among them: for reliability, and for the heads.

    Args:
        context: The run, whose plan says how many.
        features: float32 [N, D].
        space: Where similarity is measured.

    Returns:
        int32 [N, n], each row led by the item itself.
    """
    plan = context.plan
    wanted = max(plan.reliable.num_neighbors, 1 + plan.self_labeling.num_neighbors)
    count = min(plan.num_images, wanted)
    return context.neighbor_search(context.similarity_rows(features, space), count)


def _embed_images(context: Context) -> None:
    section, images = context.config.self_labeling, context.images
    encoder = pretrained_encoder(context)
    counts = {"weak": 0, "strong": 0}
    if section.cached_views is not None:
        counts = {"weak": section.cached_views.weak, "strong": section.cached_views.strong}
    _tell_time(context, encoder, len(images) * (1 + sum(counts.values())))
    with (
        context.screen.task("embed", len(images) * (1 + sum(counts.values()))) as task,
        context.writing(Embeddings) as folder,
    ):
        features = encode_images(encoder, images, task=task)
        replace(_compared(context, features), features=features).save(folder)
        for kind, policy in (("weak", section.weak), ("strong", section.strong)):
            path = Embeddings.views_file(folder, kind)
            _write_views(path, context, encoder, build_policy(policy), counts[kind], task)
    context.screen.detail(f"embed: {features.shape[0]} images, {features.shape[1]} features.")


def _tell_time(context: Context, encoder: keras.Model, passes: int) -> None:
    """Say how long a pretrained encoder will take, and how long with smaller images."""
    side = context.config.data.image_size
    if not context.config.backbone.pretrained or passes < _WORTH_TELLING:
        return
    batch = np.zeros((_TIMED_IMAGES, side, side, 3), np.uint8)
    encoder.predict_on_batch(batch)  # the first time it is traced as well
    began = time.monotonic()
    encoder.predict_on_batch(batch)
    per_image = (time.monotonic() - began) / _TIMED_IMAGES
    seconds = per_image * passes
    text = f"embed: {context.config.backbone.name} at {side} pixels will take about "
    text += clock(seconds)
    if side > FAST_SIDE:
        # A convolution costs as much as its map has pixels.
        fast = clock(seconds * (FAST_SIDE / side) ** 2)
        text += f"; with --fast ({FAST_SIDE} pixels) {fast}"
    times = stage_seconds(context.config, context.plan, per_image)
    if times is not None:
        text += f". The whole run: about {clock(sum(times.values()))}"
    context.screen.say(f"{text}.")


def view_features(
    encoder: keras.Model, images: np.ndarray, policy: Policy, seeds: Sequence[int]
) -> np.ndarray:
    """Return features of augmented copies of some images.

    Args:
        encoder: uint8 [B, S, S, 3] to features [B, D].
        images: uint8 [N, S, S, 3].
        policy: What augments them.
        seeds: One for each copy of all images.

    Returns:
        float16 [copies, N, D], within that type's range.
    """
    found = np.empty((len(seeds), len(images), encoder.output_shape[-1]), np.float16)
    for number, seed in enumerate(seeds):
        for rows, features in encoded_batches(encoder, images, view=policy, seed=seed):
            found[number, rows] = np.clip(features, -_LARGEST, _LARGEST)
    return found


def _write_views(
    path: Path, context: Context, encoder: keras.Model, policy: Policy, count: int, task: Task
) -> None:
    """Write features of `count` augmented copies, float16 [count, N, D]; nothing for none."""
    if not count:
        return
    shape = (count, len(context.images), encoder.output_shape[-1])
    views = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    with path.open("rb+") as file:  # a full disk would otherwise end the process
        allocate(file.fileno(), path.stat().st_size)
    for number in range(count):
        seed = context.seed(f"{path.stem} view {number}")
        for rows, features in encoded_batches(
            encoder, context.images, view=policy, seed=seed, task=task
        ):
            views[number, rows] = np.clip(features, -_LARGEST, _LARGEST)
    views.flush()

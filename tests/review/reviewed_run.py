"""Finished runs to review, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.algorithm.feature_space import fitted_space
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.heads.inference import head_probabilities
from spice_keras.heads.soft_targets import fit_soft_targets
from spice_keras.options import Protocol
from spice_keras.run.context import Context
from spice_keras.run.networks import Encoder, build_encoder
from spice_keras.run.store import Embeddings, Heads, Items, Reliable
from spice_keras.training.encoding import encode_images
from tests.stages.made_run import CLUSTERS, COUNT, SIDE, make_context, truth, write_heads

TESTED = 12


def finished(path: Path, confidence: float | np.ndarray = 0.95, **options: Any) -> Context:
    """A run of 36 images in three clusters, all reliable; it has no network."""
    context = make_context(path, semi__enabled=False, **options)
    write_heads(context, truth(), confidence)
    context.save(Reliable(np.arange(COUNT), truth(), np.ones(COUNT, np.float32)))
    return context


def finished_run(
    path: Path, *, wrong: bool = False, protocol: Protocol | None = None, **options: Any
) -> Context:
    """A run of images of three colours, with an encoder and a head that agree on them.

    Args:
        path: Where it goes.
        wrong: Whether the head puts the third colour into the first cluster.
        protocol: Makes the first twelve images a test part; None for a run of one part.
        **options: More of the configuration.
    """
    options = {"semi__enabled": False, "evaluate__map_method": "pca", **options}
    parts: dict[str, int | None] = {}
    if protocol is not None:
        options |= {"data__test_path": "tests", "data__protocol": protocol}
        parts = {"test": TESTED, "train": COUNT - TESTED}
    context = make_context(path, **options)
    with context.writing(Items) as folder:
        noise = np.random.default_rng(0).integers(0, 12, (COUNT, SIDE, SIDE, 3), np.uint8)
        colors = np.eye(3, dtype=np.uint8)[truth()] * 200
        np.save(Items.pixels_file(folder), noise + colors[:, None, None])
        Items([f"photos/{row:02d}.png" for row in range(COUNT)], [], parts=parts).save(folder)
    context = Context(context.config, context.run, context.screen)  # forgets what it has counted
    encoder = build_encoder(context.config.backbone, image_size=SIDE, seed=0)
    context.save(Encoder(encoder, context.config.backbone))
    features = encode_images(encoder, context.images)
    space = fitted_space(features)
    rows = space.unit_rows(features)
    count = context.plan.reliable.num_neighbors
    context.save(Embeddings(nearest_neighbors(rows, count), features, space=space))
    own = truth()[-len(context.ids) :]
    clusters = np.where(own == 2, 0, own) if wrong else own
    kernel, bias = fit_soft_targets(rows, np.eye(CLUSTERS)[clusters])
    weights = [kernel / np.sqrt(np.float32(features.shape[1])), bias]
    said = head_probabilities(features, weights, space).astype(np.float32)
    chosen = said.argmax(axis=1).astype(np.int32)
    context.save(Heads(said, chosen[None], 0, 0, 0.5, [weight[None] for weight in weights]))
    rows = np.arange(len(chosen))
    context.save(Reliable(rows, chosen, np.ones(len(rows), np.float32)))
    return context

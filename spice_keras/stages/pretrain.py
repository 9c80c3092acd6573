"""Stage 1: MoCo v2 on the images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.info_nce import random_guess_loss
from spice_keras.algorithm.schedules import MoCoCosine
from spice_keras.augment.policies import build_policy
from spice_keras.backbones.normalization import synchronize
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.data.batches import training_batches
from spice_keras.metrics.trust import local_consistency_rate
from spice_keras.models.moco import MoCo
from spice_keras.progress import clock
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.fitting import Phase, checkpoints_of, fit_phase
from spice_keras.run.networks import Encoder, build_initial_encoder
from spice_keras.training.callbacks import EstimateRun
from spice_keras.training.encoding import encode_images
from spice_keras.training.loop import FitLength, compile_for_device
from spice_keras.training.optimizers import FusedSGD

# Encoders that were loaded before their run's images were read; they go with the run.
_prepared: WeakKeyDictionary[RunDirectory, keras.Model] = WeakKeyDictionary()

_QUALITY_IMAGES = 2000
_QUALITY_NEIGHBORS = 20


class NeighborQuality(keras.callbacks.Callback):
    """A label-free figure of the embeddings: how often near images share a k-means cluster.

    Args:
        images: A sample, uint8 [n, S, S, 3].
        num_clusters: Clusters of k-means.
        every: Epochs between two figures.
        seed: Seed of k-means.
    """

    def __init__(self, images: np.ndarray, num_clusters: int, *, every: int, seed: int) -> None:
        super().__init__()
        self._images, self._num_clusters = images, num_clusters
        self._every, self._seed = every, seed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add `neighbor_quality` to the logs when it is time."""
        if logs is None or (epoch + 1) % self._every:
            return
        features = l2_normalized(encode_images(self.model.encoder, self._images, batch_size=256))
        count = min(_QUALITY_NEIGHBORS, len(features))
        clusters = kmeans_clusters(features, self._num_clusters, seed=self._seed, num_init=1)
        neighbors = nearest_neighbors(features, count)
        logs["neighbor_quality"] = local_consistency_rate(clusters, neighbors)


def _sample(images: np.ndarray, seed: int) -> np.ndarray:
    count = min(_QUALITY_IMAGES, len(images))
    rows = np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))
    return np.asarray(images[rows])


def build_moco(context: Context) -> MoCo:
    """Build and compile MoCo as the configuration asks; call it in the scope of the replicas.

    Replicas share the groups of batch normalisation, or its statistics if there is one group.
    """
    section, plan = context.config.pretrain, context.plan
    seed, replicas = context.seed("pretrain"), context.replicas.count
    encoder = build_initial_encoder(
        context.config.backbone,
        image_size=context.config.data.image_size,
        seed=seed,
        bn_groups=max(1, section.bn_groups // replicas),
    )
    if section.bn_groups == 1 < replicas:
        synchronize(encoder)
    model = MoCo(
        encoder,
        projection_dim=section.projection_dim,
        queue_size=plan.pretrain.queue_size,
        momentum=section.momentum,
        temperature=section.temperature,
        symmetric=section.symmetric,
        weight_decay=section.weight_decay,
        shuffle_keys=section.bn_groups > 1,
        seed=seed,
    )
    schedule = MoCoCosine(
        section.learning_rate, plan.pretrain.epochs, plan.pretrain.steps_per_epoch
    )
    compile_for_device(model, FusedSGD(schedule, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def _batches(context: Context, first_epoch: int) -> tf.data.Dataset:
    view = build_policy(context.config.pretrain.views)
    return training_batches(
        context.pretraining_images,
        views={"query": view, "key": view},
        batch_size=context.plan.pretrain.batch_size,
        seed=context.seed("pretrain batches"),
        first_epoch=first_epoch,
        epochs=context.plan.pretrain.epochs - first_epoch,
    )


def _estimate(context: Context) -> EstimateRun:
    passes = context.plan.forward_passes()
    if not context.config.semi.enabled:
        passes["semi"] = 0.0

    def say(seconds_per_step: float) -> None:
        per_pass = seconds_per_step * context.plan.pretrain.steps / passes["pretrain"]
        times = {stage: per_pass * count for stage, count in passes.items()}
        context.screen.say(
            f"About {clock(sum(times.values()))} for the three training stages on this machine "
            f"(pretrain {clock(times['pretrain'])}, self {clock(times['self'])}, "
            f"semi {clock(times['semi'])}; from {EstimateRun.COUNT} timed steps)."
        )

    return EstimateRun(say)


def _warn_of_collapse(context: Context, logs: Mapping[str, Any]) -> None:
    if logs.get("embedding_std", 1.0) < 0.1:
        context.screen.warn(
            f"pretrain: the embeddings have nearly collapsed (embedding_std "
            f"{logs['embedding_std']:.3f}, 1 is healthy). Stronger views, a lower learning rate "
            "or a larger queue help."
        )


def prepare_encoder(context: Context) -> None:
    """Load an encoder that comes with weights, and keep it for `pretrain`.

    Args:
        context: The run; nothing of it need be there.

    Raises:
        UserError: If the weights cannot be had.
    """
    if context.has_images and context.config.backbone.pretrained:
        encoder = _encoder_as_it_comes(context)
        if not context.config.trains_encoder:
            _prepared[context.run] = encoder


def _encoder_as_it_comes(context: Context) -> keras.Model:
    backbone, size = context.config.backbone, context.config.data.image_size
    return build_initial_encoder(backbone, image_size=size, seed=context.seed("pretrain"))


def pretrain(context: Context) -> None:
    """Train the encoder, or take a pretrained one as it is, and write the artifact `encoder`.

    Args:
        context: The run; its images are there.

    Raises:
        UserError: If a pretrained backbone's weights cannot be had.
    """
    if context.config.trains_encoder:
        model = train_moco(context)
        context.save(Encoder(model.encoder, context.config.backbone))
        checkpoints_of(context, "pretrain").clear()
        return
    backbone = context.config.backbone
    encoder = _prepared.pop(context.run, None) or _encoder_as_it_comes(context)
    context.save(Encoder(encoder, backbone))
    context.screen.say(f"pretrain: none; {backbone.name} with the weights it comes with.")


def train_moco(context: Context) -> MoCo:
    """Train MoCo to the end, together with the other workers of the run if there are any.

    Args:
        context: The run; its images are there.

    Returns:
        The trained model. Nothing but checkpoints and figures is written.
    """
    section, plan = context.config.pretrain, context.plan
    guess = random_guess_loss(plan.pretrain.queue_size)
    with context.replicas.phase(context.run, "pretrain"):
        model = build_moco(context)
    quality = NeighborQuality(
        _sample(context.pretraining_images, context.seed("quality")),
        context.config.num_clusters,
        every=section.quality_every,
        seed=context.seed("quality"),
    )

    def on_row(row: dict[str, Any]) -> None:
        row["random_guess"] = guess
        _warn_of_collapse(context, row)

    phase = Phase(
        "pretrain",
        FitLength(
            plan.pretrain.epochs,
            plan.pretrain.steps_per_epoch,
            section.checkpoint_every,
            plan.pretrain.batch_size,
        ),
        {"loss": f"loss {{:.3f}} (chance {guess:.2f})", "embedding_std": "std {:.2f}"},
        "pretrain.learning_rate",
        (quality, _estimate(context)),
        on_row,
    )
    fit_phase(context, phase, model, lambda epoch: _batches(context, epoch))
    return model

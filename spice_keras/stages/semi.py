"""Stage 3, SPICE-Semi: FixMatch from the reliable labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.schedules import FixMatchCosine
from spice_keras.augment.policies import build_policy
from spice_keras.backbones.normalization import synchronize
from spice_keras.data.batches import semi_batches
from spice_keras.models.spice_semi import SpiceSemi
from spice_keras.run.context import Context
from spice_keras.run.fitting import Phase, checkpoints_of, fit_phase
from spice_keras.run.networks import (
    Encoder,
    build_encoder,
    classified,
    load_network,
    save_network,
    semi_backbone,
)
from spice_keras.run.store import Classifier, Reliable
from spice_keras.training.loop import FitLength, compile_for_device
from spice_keras.training.optimizers import FusedSGD


def build_spice_semi(context: Context) -> SpiceSemi:
    """Build and compile SPICE-Semi as the configuration asks; call it in the scope of the replicas.

    Replicas share the statistics of batch normalisation.
    """
    section, backbone = context.config.semi, semi_backbone(context.config)
    seed = context.seed("semi")
    encoder = build_encoder(backbone, image_size=context.config.data.image_size, seed=seed)
    if section.init == "pretrained":
        load_network(context.folder(Encoder), encoder, backbone)
    if context.replicas.count > 1:
        synchronize(encoder)
    model = SpiceSemi(
        encoder,
        context.config.num_clusters,
        threshold=section.threshold,
        unlabeled_weight=section.unlabeled_weight,
        ema_momentum=section.ema_momentum,
        weight_decay=section.weight_decay,
        seed=seed,
    )
    schedule = FixMatchCosine(section.learning_rate, context.plan.semi.steps)
    optimizer = FusedSGD(schedule, momentum=section.sgd_momentum, nesterov=True)
    compile_for_device(model, optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def semi(context: Context) -> None:
    """Train FixMatch from the reliable labels and write the artifact `classifier`.

    The averaged network of the last step is the result: nothing is chosen.

    Args:
        context: The run; its reliable labels are there.
    """
    model = train_semi(context)
    found = classified(model.ema_network, context.images)
    with context.writing(Classifier) as folder:
        found.save(folder)
        size = context.config.data.image_size
        backbone = semi_backbone(context.config)
        save_network(folder, model.ema_network, backbone, image_size=size)
    checkpoints_of(context, "semi").clear()


def train_semi(context: Context) -> SpiceSemi:
    """Train FixMatch to the end, together with the other workers of the run if there are any.

    Args:
        context: The run; its reliable labels are there.

    Returns:
        The trained model. Nothing but checkpoints and figures is written.
    """
    section, plan = context.config.semi, context.plan.semi
    indices, labels = labeled_rows(context)
    with context.replicas.phase(context.run, "semi"):
        model = build_spice_semi(context)

    def batches(first_epoch: int) -> tf.data.Dataset:
        return semi_batches(
            context.semi_images,
            labeled_indices=indices,
            labels=labels,
            views={"weak": build_policy(section.weak), "strong": build_policy(section.strong)},
            labeled_batch=plan.labeled_batch,
            unlabeled_batch=plan.unlabeled_batch,
            seed=context.seed("semi batches"),
            first_step=first_epoch * plan.steps_per_epoch,
            num_steps=(plan.epochs - first_epoch) * plan.steps_per_epoch,
            class_balanced=section.class_balanced,
        )

    phase = Phase(
        "semi",
        FitLength(
            plan.epochs,
            plan.steps_per_epoch,
            1,
            plan.labeled_batch + 2 * plan.unlabeled_batch,
        ),
        {"loss": "loss {:.3f}", "mask_ratio": "mask {:.2f}"},
        "semi.learning_rate",
    )
    fit_phase(context, phase, model, batches)
    return model


def labeled_rows(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled images' rows, int64 [R], and labels, int32 [R]: the reliable ones."""
    if context.config.semi.labels_from == "reliable":
        found = context.load(Reliable)
        return found.indices, found.labels
    # Here, so that no other run as much as imports what reads labels.
    from spice_keras.stages.true_labels import labels_on_request

    indices, labels = labels_on_request(context)
    context.screen.warn(
        f"SPICE-Semi trains on {len(labels)} true labels, as semi.labels_from asks: its result is "
        "semi-supervised learning, not clustering."
    )
    return indices, labels

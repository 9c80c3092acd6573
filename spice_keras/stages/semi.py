"""Stage 3, SPICE-Semi: FixMatch from the reliable labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.schedules import FixMatchCosine
from spice_keras.augment.policies import build_policy
from spice_keras.backbones.normalization import synchronize
from spice_keras.data.batches import semi_batches
from spice_keras.errors import UserError
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
from spice_keras.stages.reliable import uneven_shares
from spice_keras.training.loop import FitLength, compile_for_device
from spice_keras.training.optimizers import FusedSGD


@dataclass(frozen=True, eq=False)
class Corrections:
    """What a person decided about the clusters that SPICE-Semi learns.

    Attributes:
        labels: int32 [N], the cluster of each image a person placed or checked; -1 for the others.
        excluded: bool [N], whether an image is left out; it lends no label.
        merge: int32 [K], the cluster that each one's other labels go to.
    """

    labels: np.ndarray
    excluded: np.ndarray
    merge: np.ndarray


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


def semi(context: Context, corrections: Corrections | None = None) -> None:
    """Train FixMatch from the reliable labels and write the artifact `classifier`.

    The averaged network of the last step is the result: nothing is chosen.

    Args:
        context: The run; its reliable labels are there.
        corrections: What a person decided, if `semi.labels_from` is `edits`.
    """
    model = train_semi(context, corrections)
    found = classified(model.ema_network, context.images)
    with context.writing(Classifier) as folder:
        found.save(folder)
        size = context.config.data.image_size
        backbone = semi_backbone(context.config)
        save_network(folder, model.ema_network, backbone, image_size=size)
    checkpoints_of(context, "semi").clear()


def train_semi(context: Context, corrections: Corrections | None = None) -> SpiceSemi:
    """Train FixMatch to the end, together with the other workers of the run if there are any.

    Args:
        context: The run; its reliable labels are there.
        corrections: What a person decided, if `semi.labels_from` is `edits`.

    Returns:
        The trained model. Nothing but checkpoints and figures is written.
    """
    section, plan = context.config.semi, context.plan.semi
    indices, labels = labeled_rows(context, corrections)
    balanced: bool | np.ndarray = section.class_balanced
    if balanced and section.labels_from == "reliable":  # others are not of the heads' clusters
        shares = uneven_shares(context)
        balanced = True if shares is None else shares
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
            class_balanced=balanced,
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


def labeled_rows(
    context: Context, corrections: Corrections | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the labels that SPICE-Semi trains on.

    Args:
        context: The run; its reliable labels are there.
        corrections: What a person decided, if `semi.labels_from` is `edits`.

    Returns:
        The labelled images' rows, int64 [R], and their labels, int32 [R].

    Raises:
        UserError: If there are none, or they are of fewer than two clusters.
    """
    if context.config.semi.labels_from != "source":
        found = context.load(Reliable)
        if corrections is None:
            return found.indices, found.labels
        return _corrected(context, found, corrections)
    # Here, so that no other run as much as imports what reads labels.
    from spice_keras.stages.true_labels import labels_on_request

    indices, labels = labels_on_request(context)
    context.screen.warn(
        f"SPICE-Semi trains on {len(labels)} true labels, as semi.labels_from asks: its result is "
        "semi-supervised learning, not clustering."
    )
    return indices, labels


def _corrected(
    context: Context, reliable: Reliable, corrections: Corrections
) -> tuple[np.ndarray, np.ndarray]:
    """The reliable labels with a person's decisions in their place."""
    labels = np.full(len(context.ids), -1, np.int32)
    labels[reliable.indices] = corrections.merge[reliable.labels]
    placed = corrections.labels >= 0
    labels[placed] = corrections.labels[placed]
    labels[corrections.excluded] = -1
    rows = np.flatnonzero(labels >= 0)
    if len(np.unique(labels[rows])) < 2:
        raise UserError(
            f"With the edits, SPICE-Semi has {len(rows)} labels of "
            f"{len(np.unique(labels[rows]))} cluster, and nothing to tell apart. Undo a merge in "
            "spice review, or leave semi.labels_from at reliable."
        )
    context.screen.say(
        f"semi: {len(rows)} labels, {np.count_nonzero(placed & ~corrections.excluded)} of them "
        "placed by a person."
    )
    return rows, labels[rows]

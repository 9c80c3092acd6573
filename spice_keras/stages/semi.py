"""Stage 3, SPICE-Semi: FixMatch from the reliable labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.schedules import FixMatchCosine
from spice_keras.augment.policies import build_policy
from spice_keras.config.schema import BackboneConfig
from spice_keras.data.batches import inference_batches, semi_batches
from spice_keras.models.clusterer import clusterer_from_network
from spice_keras.models.spice_semi import SpiceSemi
from spice_keras.run.context import Context
from spice_keras.stages.assignment import Assignment
from spice_keras.stages.encoder import build_encoder, load_network, save_network
from spice_keras.stages.reliable import read_reliable
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import Schedule, Watch, compile_for_device, fit_resumable
from spice_keras.training.optimizers import FusedSGD


@dataclass(frozen=True)
class SemiResult(Assignment):
    """What SPICE-Semi leaves.

    Attributes:
        embeddings: float32 [N, D], its pooled features on the unit sphere.
    """

    embeddings: np.ndarray


def semi_backbone(context: Context) -> BackboneConfig:
    """Return the network SPICE-Semi trains: its own, or the pretrained one's."""
    return context.config.semi.backbone or context.config.backbone


def build_spice_semi(context: Context) -> SpiceSemi:
    """Build and compile SPICE-Semi as the configuration asks."""
    section, backbone = context.config.semi, semi_backbone(context)
    seed = context.seed("semi")
    encoder = build_encoder(backbone, image_size=context.config.data.image_size, seed=seed)
    if section.init == "pretrained":
        load_network(context.run.read("encoder", written_by="pretrain"), encoder, backbone)
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
    section, plan = context.config.semi, context.plan.semi
    indices, labels = labeled_rows(context)
    model = build_spice_semi(context)
    checkpoints = Checkpoints(context.run.checkpoints / "semi")

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

    images_per_step = plan.labeled_batch + 2 * plan.unlabeled_batch
    fit_resumable(
        model,
        batches,
        stage="semi",
        schedule=Schedule(plan.epochs, plan.steps_per_epoch, 1, images_per_step),
        checkpoints=checkpoints,
        watch=Watch(
            context.screen,
            {"loss": "loss {:.3f}", "mask_ratio": "mask {:.2f}"},
            lambda row: context.log("semi", row),
            lambda epoch: context.run.forget_metrics("semi", from_epoch=epoch),
        ),
    )
    _save(context, model)
    checkpoints.clear()


def labeled_rows(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled images' rows, int64 [R], and labels, int32 [R]: the reliable ones."""
    if context.config.semi.labels_from == "reliable":
        return read_reliable(context)
    # Here, so that no other run as much as imports what reads labels.
    from spice_keras.stages.true_labels import labels_on_request

    indices, labels = labels_on_request(context)
    context.screen.warn(
        f"SPICE-Semi trains on {len(labels)} true labels, as semi.labels_from asks: its result is "
        "semi-supervised and no clustering."
    )
    return indices, labels


def classify(model: SpiceSemi, images: np.ndarray) -> dict[str, Any]:
    """Ask the averaged network: `probabilities` [N, K], `embedding` [N, D] of unit length."""
    clusterer = clusterer_from_network(model.ema_network)
    batches = inference_batches(images, 256).map(lambda batch: batch["image"])
    outputs: dict[str, Any] = clusterer.predict(batches, verbose=0)
    return outputs


def _save(context: Context, model: SpiceSemi) -> None:
    outputs = classify(model, context.images)
    with context.run.write("classifier", stage="semi") as folder:
        size = context.config.data.image_size
        save_network(folder, model.ema_network, semi_backbone(context), image_size=size)
        for name in ("probabilities", "embedding"):
            np.save(folder / f"{name}.npy", outputs[name], allow_pickle=False)


def read_semi(context: Context) -> SemiResult:
    """Read the artifact `classifier`."""
    folder = context.read("classifier", written_by="semi")
    return SemiResult(
        np.load(folder / "probabilities.npy", allow_pickle=False),
        np.load(folder / "embedding.npy", allow_pickle=False),
    )


def read_semi_model(context: Context) -> SpiceSemi:
    """Rebuild the averaged network."""
    folder = context.run.read("classifier", written_by="semi")
    model = build_spice_semi(context)
    load_network(folder, model.ema_network, semi_backbone(context))
    return model

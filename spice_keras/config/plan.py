"""The arithmetic of a run: what a configuration means for this many images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from spice_keras.config.checks import Problem
from spice_keras.config.protocol import PartCounts, stage_rows
from spice_keras.config.schema import RunConfig
from spice_keras.errors import UserError
from spice_keras.options import pairs_per_step

# Pretraining of unknown data: enough epochs for small folders, no whole day for large ones.
_AUTO_VIEWS, _AUTO_EPOCHS = 150_000, (10, 200)


@dataclass(frozen=True)
class Plan:
    """Sizes and steps of every stage, with the adaptations made to the data in `notes`.

    `num_images` are clustered; the stages that see others count them in the three next fields.
    """

    num_images: int
    pretrain_images: int
    unlabeled_images: int
    reported_images: int
    num_clusters: int
    image_bytes: int
    pretrain_batch: int
    pretrain_epochs: int
    pretrain_steps_per_epoch: int
    queue_size: int
    large_batch: int
    iterations_per_epoch: int
    self_epochs: int
    self_passes: int
    confident_per_cluster: int
    labels_per_cluster: int
    pseudo_labels_per_iteration: int
    head_batch: int
    head_steps_per_iteration: int
    num_neighbors: int
    neighbor_batch: int
    head_neighbors: int
    semi_epochs: int
    semi_steps_per_epoch: int
    labeled_batch: int
    unlabeled_batch: int
    notes: tuple[str, ...]

    @property
    def pretrain_steps(self) -> int:
        """All steps of pretraining."""
        return self.pretrain_epochs * self.pretrain_steps_per_epoch

    @property
    def semi_steps(self) -> int:
        """All steps of SPICE-Semi."""
        return self.semi_epochs * self.semi_steps_per_epoch

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self) | {"notes": list(self.notes)}

    def forward_passes(self) -> dict[str, float]:
        """Estimate each training stage's cost in image passes through the encoder.

        A backward pass counts as two forward ones: 4 for a MoCo image (query there and back,
        key there), 1 for a feature of SPICE-Self, 3 for an image of FixMatch.
        """
        moco = 4.0 * self.pretrain_steps * self.pretrain_batch
        semi = 3.0 * self.semi_steps * (self.labeled_batch + 2 * self.unlabeled_batch)
        return {"pretrain": moco, "self": float(self.self_passes), "semi": semi}


def _auto_batch(num_images: int) -> int:
    power_of_two = 2 ** int(math.log2(max(1, num_images // 4)))
    return min(128, max(4, power_of_two), num_images)


def _auto_queue(num_images: int, batch: int) -> int:
    return max(1, min(4096, num_images // 2) // batch) * batch


def _impossible(
    config: RunConfig, num_images: int, pretrain_images: int, batch: int, queue: int
) -> list[Problem]:
    problems = []
    if config.num_clusters > num_images:
        problems.append(
            Problem(
                ("num_clusters",),
                f"{config.num_clusters} clusters of {num_images} images cannot be formed; "
                f"ask for at most {num_images // 2}",
            )
        )
    if config.trains_encoder:
        problems += _impossible_pretraining(config, pretrain_images, batch, queue)
    return problems


def _impossible_pretraining(
    config: RunConfig, num_images: int, batch: int, queue: int
) -> list[Problem]:
    problems = []
    if batch > num_images:
        problems.append(
            Problem(
                ("pretrain.batch_size",),
                f"a batch of {batch} is larger than the data ({num_images} images); "
                "null chooses one",
            )
        )
    if queue > max(num_images, batch):
        problems.append(
            Problem(
                ("pretrain.queue_size",),
                f"a queue of {queue} keys is larger than the data ({num_images} images): the "
                f"same image would be its own negative; take at most "
                f"{max(1, num_images // batch) * batch}, or null, which chooses",
            )
        )
    if batch % config.pretrain.bn_groups:
        problems.append(
            Problem(
                ("pretrain.bn_groups",),
                f"a batch of {batch} cannot be cut into {config.pretrain.bn_groups} equal groups",
            )
        )
    return problems


def _adaptations(config: RunConfig, plan: Plan) -> Iterator[str]:
    """Say where the plan departs from what the configuration asks for."""
    section, semi = config.self_labeling, config.semi
    if config.trains_encoder and config.pretrain.batch_size is None and plan.pretrain_batch < 128:
        yield (
            f"Pretraining batch {plan.pretrain_batch} instead of 128: only "
            f"{plan.pretrain_images} images."
        )
    if section.objective == "prototypes" and plan.large_batch < section.large_batch:
        yield (
            f"M = {plan.large_batch} instead of {section.large_batch}: a large batch of "
            "SPICE-Self cannot hold more images than there are."
        )
    if section.objective == "neighbors" and plan.head_neighbors < section.neighbors.num_neighbors:
        yield (
            f"Heads are trained with {plan.head_neighbors} neighbours instead of "
            f"{section.neighbors.num_neighbors}: more would reach beyond half a cluster."
        )
    if plan.num_neighbors < config.reliable.num_neighbors:
        yield (
            f"n_s = {plan.num_neighbors} neighbours instead of {config.reliable.num_neighbors}: "
            f"more would reach beyond half a cluster of {plan.num_images // plan.num_clusters} "
            "images."
        )
    if not semi.enabled:
        return
    if plan.unlabeled_batch < semi.labeled_batch * semi.unlabeled_ratio:
        yield (
            f"SPICE-Semi takes {plan.unlabeled_batch} unlabelled images a step instead of "
            f"{semi.labeled_batch * semi.unlabeled_ratio}: there are no more."
        )
    if plan.semi_steps != semi.steps:
        yield (
            f"SPICE-Semi runs {plan.semi_steps} steps instead of {semi.steps}: "
            f"{plan.semi_epochs} equal stretches of {plan.semi_steps_per_epoch}."
        )


def count_rows(config: RunConfig, counts: PartCounts) -> dict[str, int]:
    """Count the images each stage sees, as the protocol says."""
    rows = stage_rows(counts, config.data.protocol, extra_in_semi=config.semi.use_extra)
    return {
        "num_images": rows.clustered.stop - rows.clustered.start,
        "pretrain_images": rows.pretrained.stop - rows.pretrained.start,
        "unlabeled_images": rows.unlabeled.stop - rows.unlabeled.start,
        "reported_images": rows.reported.stop - rows.reported.start,
    }


def make_plan(config: RunConfig, items: int | PartCounts) -> Plan:
    """Work out sizes and steps for this many images.

    Args:
        config: The configuration.
        items: Readable images of the source, or of each of its parts.

    Returns:
        The plan; `notes` states every adaptation to small data.

    Raises:
        UserError: Where the data is too small for what the configuration states explicitly.
    """
    section, k, semi = config.pretrain, config.num_clusters, config.semi
    parts = PartCounts(items) if isinstance(items, int) else items
    seen = count_rows(config, parts)
    num_images, pretrain_images = seen["num_images"], seen["pretrain_images"]
    image_bytes = 3 * parts.total * config.data.image_size**2
    batch = section.batch_size or _auto_batch(pretrain_images)
    queue = section.queue_size or _auto_queue(pretrain_images, batch)
    problems = _impossible(config, num_images, pretrain_images, batch, queue)
    if problems:
        lines = "\n".join(f"  {', '.join(p.paths)}: {p.message}" for p in problems)
        raise UserError(f"The configuration does not fit the data:\n{lines}")
    low, high = _AUTO_EPOCHS
    epochs = section.epochs or min(high, max(low, round(_AUTO_VIEWS / pretrain_images)))
    semi_epochs = math.ceil(semi.steps / semi.steps_per_epoch)
    plan = Plan(
        **seen,
        num_clusters=k,
        image_bytes=0 if config.data.source == "embeddings" else image_bytes,
        pretrain_batch=batch,
        pretrain_epochs=epochs if config.trains_encoder else 0,
        pretrain_steps_per_epoch=pretrain_images // batch,
        queue_size=queue,
        **_self_plan(config, num_images),
        num_neighbors=min(config.reliable.num_neighbors, max(1, num_images // (2 * k))),
        semi_epochs=semi_epochs if semi.enabled else 0,
        semi_steps_per_epoch=math.ceil(semi.steps / semi_epochs),
        labeled_batch=semi.labeled_batch,
        unlabeled_batch=min(semi.labeled_batch * semi.unlabeled_ratio, seen["unlabeled_images"]),
        notes=(),
    )
    return replace(plan, notes=tuple(_adaptations(config, plan)))


def _self_plan(config: RunConfig, num_images: int) -> dict[str, int]:
    """Work out the numbers of the self-labelling stage, whichever its objective."""
    section, k = config.self_labeling, config.num_clusters
    large = min(section.large_batch, num_images)
    per_cluster = large // k
    pairs = k * per_cluster
    head_batch = min(section.batch_size, pairs)
    neighbors = section.objective == "neighbors"
    neighbor_batch = min(section.neighbors.batch_size or pairs_per_step(k), num_images)
    if neighbors:
        large = neighbor_batch
    epochs = section.neighbors.epochs if neighbors else section.epochs
    if config.data.source == "embeddings":
        passes = 0
    elif section.cached_views is not None:
        passes = num_images * (1 + section.cached_views.weak + section.cached_views.strong)
    else:
        passes = 2 * epochs * (num_images // large) * large
    if section.moves_encoder and section.train_encoder:
        # Forward and back for every pair of every head, and the weak views.
        trained = 3 * section.num_heads * section.num_repeats * (pairs // head_batch) * head_batch
        passes = epochs * (num_images // large) * (large + trained)
    return {
        "large_batch": large,
        "iterations_per_epoch": num_images // large,
        "self_epochs": epochs,
        "self_passes": passes,
        "confident_per_cluster": max(1, int(section.confident_ratio * per_cluster)),
        "labels_per_cluster": per_cluster,
        "pseudo_labels_per_iteration": pairs,
        "head_batch": head_batch,
        "head_steps_per_iteration": section.num_repeats * (pairs // head_batch),
        "neighbor_batch": neighbor_batch,
        "head_neighbors": min(section.neighbors.num_neighbors, max(1, num_images // (2 * k))),
    }

"""The arithmetic of a run: what a configuration means for this many images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from spice_keras.config.problems import Problem
from spice_keras.config.schema import RunConfig
from spice_keras.errors import UserError

# Pretraining of unknown data: enough epochs for small folders, no whole day for large ones.
_AUTO_VIEWS, _AUTO_EPOCHS = 150_000, (10, 200)


@dataclass(frozen=True)
class Plan:
    """Sizes and steps of every stage, with the adaptations made to the data in `notes`."""

    num_images: int
    num_clusters: int
    image_bytes: int
    pretrain_batch: int
    pretrain_epochs: int
    pretrain_steps_per_epoch: int
    queue_size: int
    large_batch: int
    iterations_per_epoch: int
    self_epochs: int
    confident_per_cluster: int
    labels_per_cluster: int
    pseudo_labels_per_iteration: int
    head_batch: int
    head_steps_per_iteration: int
    num_neighbors: int
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
        views = 2.0 * self.self_epochs * self.iterations_per_epoch * self.large_batch
        semi = 3.0 * self.semi_steps * (self.labeled_batch + 2 * self.unlabeled_batch)
        return {"pretrain": moco, "self": views, "semi": semi}


def _power_of_two_up_to(limit: int) -> int:
    return 2 ** int(math.log2(max(1, limit)))


def _auto_queue(num_images: int, batch: int) -> int:
    return max(1, min(4096, num_images // 2) // batch) * batch


def _impossible(config: RunConfig, num_images: int, batch: int, queue: int) -> list[Problem]:
    problems = []
    if config.num_clusters > num_images:
        problems.append(
            Problem(
                ("num_clusters",),
                f"{config.num_clusters} clusters of {num_images} images cannot be formed; "
                f"ask for at most {num_images // 2}",
            )
        )
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
    return problems


def make_plan(config: RunConfig, num_images: int) -> Plan:
    """Work out sizes and steps for this many images.

    Args:
        config: The configuration.
        num_images: Readable images of the source.

    Returns:
        The plan; `notes` states every adaptation to small data.

    Raises:
        UserError: Where the data is too small for what the configuration states explicitly.
    """
    notes: list[str] = []
    section, k = config.pretrain, config.num_clusters
    batch = section.batch_size or min(128, max(4, _power_of_two_up_to(num_images // 4)))
    queue = section.queue_size or _auto_queue(num_images, batch)
    problems = _impossible(config, num_images, batch, queue)
    if problems:
        lines = "\n".join(f"  {', '.join(p.paths)}: {p.message}" for p in problems)
        raise UserError(f"The configuration does not fit the data:\n{lines}")
    if section.batch_size is None and batch < 128:
        notes.append(f"Pretraining batch {batch} instead of 128: only {num_images} images.")
    low, high = _AUTO_EPOCHS
    epochs = section.epochs or min(high, max(low, round(_AUTO_VIEWS / num_images)))
    large = min(config.self_labeling.large_batch, num_images)
    if large < config.self_labeling.large_batch:
        notes.append(
            f"M = {large} instead of {config.self_labeling.large_batch}: a large batch of "
            "SPICE-Self cannot hold more images than there are."
        )
    neighbors = min(config.reliable.num_neighbors, max(1, num_images // (2 * k)))
    if neighbors < config.reliable.num_neighbors:
        notes.append(
            f"n_s = {neighbors} neighbours instead of {config.reliable.num_neighbors}: more "
            f"would reach beyond half a cluster of {num_images // k} images."
        )
    per_cluster = large // k
    pairs = k * per_cluster
    head_batch = min(config.self_labeling.batch_size, pairs)
    semi = config.semi
    semi_epochs = math.ceil(semi.steps / semi.steps_per_epoch)
    semi_steps_per_epoch = math.ceil(semi.steps / semi_epochs)
    if semi_epochs * semi_steps_per_epoch != semi.steps:
        notes.append(
            f"SPICE-Semi runs {semi_epochs * semi_steps_per_epoch} steps instead of "
            f"{semi.steps}: {semi_epochs} equal stretches of {semi_steps_per_epoch}."
        )
    return Plan(
        num_images=num_images,
        num_clusters=k,
        image_bytes=num_images * config.data.image_size**2 * 3,
        pretrain_batch=batch,
        pretrain_epochs=epochs,
        pretrain_steps_per_epoch=num_images // batch,
        queue_size=queue,
        large_batch=large,
        iterations_per_epoch=num_images // large,
        self_epochs=config.self_labeling.epochs,
        confident_per_cluster=max(1, int(config.self_labeling.confident_ratio * per_cluster)),
        labels_per_cluster=per_cluster,
        pseudo_labels_per_iteration=pairs,
        head_batch=head_batch,
        head_steps_per_iteration=config.self_labeling.num_repeats * (pairs // head_batch),
        num_neighbors=neighbors,
        semi_epochs=semi_epochs,
        semi_steps_per_epoch=semi_steps_per_epoch,
        labeled_batch=semi.labeled_batch,
        unlabeled_batch=semi.labeled_batch * semi.unlabeled_ratio,
        notes=tuple(notes),
    )

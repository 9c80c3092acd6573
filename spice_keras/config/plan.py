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
from spice_keras.options import CLAIM_EVENNESS, fewest_items, head_training, neighbors_tell

# Pretraining of unknown data: enough epochs for small folders, no whole day for large ones.
_AUTO_VIEWS, _AUTO_EPOCHS = 150_000, (10, 200)


@dataclass(frozen=True)
class PretrainPlan:
    """Stage 1, MoCo v2.

    Attributes:
        num_images: Images it trains on, the extra ones included.
        batch_size: Images of a step.
        epochs: Passes over the images; 0 if the encoder comes with weights and stays as it is.
        steps_per_epoch: Steps of each.
        queue_size: Negatives.
    """

    num_images: int
    batch_size: int
    epochs: int
    steps_per_epoch: int
    queue_size: int

    @property
    def steps(self) -> int:
        """All steps."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class PseudoLabelPlan:
    """One iteration of Algorithm 1: pseudo-labels for the large batch, and training on them.

    Attributes:
        confident_per_cluster: Most confident images that make a cluster's prototype.
        labels_per_cluster: Images nearest to the prototype, which get its label.
        labels: Pseudo-labels of all clusters together.
        batch_size: Pseudo-labels of one head step.
        steps: Head steps.
    """

    confident_per_cluster: int
    labels_per_cluster: int
    labels: int
    batch_size: int
    steps: int


@dataclass(frozen=True)
class SelfLabelingPlan:
    """Stage 2, clustering heads.

    Attributes:
        epochs: Passes over the items.
        large_batch: Items of an iteration: M images of SPICE-Self, or the pairs of a step of
            neighbour consistency.
        iterations_per_epoch: Iterations of each epoch.
        encoder_passes: Images that pass through the encoder, in forward passes.
        pairs_per_step: Pairs of a step of neighbour consistency, the refinement's too.
        num_neighbors: Nearest neighbours that these pairs are drawn from.
        pseudo_labels: An iteration of SPICE-Self; None for the other objectives.
    """

    epochs: int
    large_batch: int
    iterations_per_epoch: int
    encoder_passes: int
    pairs_per_step: int
    num_neighbors: int
    pseudo_labels: PseudoLabelPlan | None


@dataclass(frozen=True)
class ReliablePlan:
    """Reliable labels by local consistency.

    Attributes:
        num_neighbors: n_s, nearest neighbours that an item is compared with, itself among them.
    """

    num_neighbors: int


@dataclass(frozen=True)
class SemiPlan:
    """Stage 3, FixMatch.

    Attributes:
        num_images: Unlabelled images, the extra ones included if they are asked for.
        epochs: Equal stretches of the training; 0 if the stage is switched off.
        steps_per_epoch: Steps of each.
        labeled_batch: Labelled images of a step.
        unlabeled_batch: Unlabelled images of a step; each is seen in a weak and a strong view.
    """

    num_images: int
    epochs: int
    steps_per_epoch: int
    labeled_batch: int
    unlabeled_batch: int

    @property
    def steps(self) -> int:
        """All steps."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Plan:
    """Sizes and steps of every stage for the data at hand.

    Attributes:
        num_images: Items that are clustered.
        reported_images: Items that the report and the assignments speak of first.
        num_clusters: K.
        image_bytes: Size of all decoded images; 0 for embeddings.
        pretrain: Stage 1.
        self_labeling: Stage 2.
        reliable: The reliable labels.
        semi: Stage 3.
        notes: Every adaptation to the data, in a sentence.
    """

    num_images: int
    reported_images: int
    num_clusters: int
    image_bytes: int
    pretrain: PretrainPlan
    self_labeling: SelfLabelingPlan
    reliable: ReliablePlan
    semi: SemiPlan
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, stage 2 under `self` as in the configuration."""
        values = asdict(self) | {"notes": list(self.notes)}
        return {"self" if key == "self_labeling" else key: values[key] for key in values}

    def forward_passes(self) -> dict[str, float]:
        """Estimate each training stage's cost in image passes through the encoder.

        A backward pass counts as two forward ones: 4 for a MoCo image (query there and back,
        key there), 1 for a feature of SPICE-Self, 3 for an image of FixMatch.
        """
        semi = self.semi
        views = semi.labeled_batch + 2 * semi.unlabeled_batch
        return {
            "pretrain": 4.0 * self.pretrain.steps * self.pretrain.batch_size,
            "self": float(self.self_labeling.encoder_passes),
            "semi": 3.0 * semi.steps * views,
        }


def _auto_batch(num_images: int) -> int:
    power_of_two = 2 ** int(math.log2(max(1, num_images // 4)))
    return max(1, min(128, max(4, power_of_two), num_images))


def _auto_queue(num_images: int, batch: int) -> int:
    return max(1, min(4096, num_images // 2) // batch) * batch


def _impossible(config: RunConfig, num_images: int, pretrain: PretrainPlan) -> list[Problem]:
    problems = []
    if num_images < 2:
        problems.append(
            Problem(
                ("num_clusters",),
                f"{config.num_clusters} clusters cannot be formed of {num_images} image"
                f"{'' if num_images == 1 else 's'}; clustering needs at least two images",
            )
        )
    elif config.num_clusters > num_images:
        problems.append(
            Problem(
                ("num_clusters",),
                f"{config.num_clusters} clusters of {num_images} images cannot be formed; "
                f"ask for at most {num_images}",
            )
        )
    if config.trains_encoder:
        problems += _impossible_pretraining(config, pretrain)
    return problems


def _impossible_pretraining(config: RunConfig, pretrain: PretrainPlan) -> list[Problem]:
    problems = []
    num_images, batch, queue = pretrain.num_images, pretrain.batch_size, pretrain.queue_size
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
    pretrain, heads = plan.pretrain, plan.self_labeling
    if config.trains_encoder and config.pretrain.batch_size is None and pretrain.batch_size < 128:
        yield (
            f"Pretraining batch {pretrain.batch_size} instead of 128: only "
            f"{pretrain.num_images} images."
        )
    if section.objective == "prototypes" and heads.large_batch < section.large_batch:
        yield (
            f"M = {heads.large_batch} instead of {section.large_batch}: a large batch of "
            "SPICE-Self cannot hold more images than there are."
        )
    if section.objective == "neighbors" and heads.num_neighbors < section.neighbors.num_neighbors:
        yield (
            f"Heads are trained with {heads.num_neighbors} neighbours instead of "
            f"{section.neighbors.num_neighbors}: more would reach beyond half a cluster."
        )
    if not neighbors_tell(plan.num_images, plan.num_clusters):
        yield _too_few(plan)
    elif plan.reliable.num_neighbors < config.reliable.num_neighbors:
        yield (
            f"n_s = {plan.reliable.num_neighbors} neighbours instead of "
            f"{config.reliable.num_neighbors}: "
            f"more would reach beyond half a cluster of {plan.num_images // plan.num_clusters} "
            "images."
        )
    if not semi.enabled:
        return
    if plan.semi.unlabeled_batch < semi.labeled_batch * semi.unlabeled_ratio:
        yield (
            f"SPICE-Semi takes {plan.semi.unlabeled_batch} unlabelled images a step instead of "
            f"{semi.labeled_batch * semi.unlabeled_ratio}: there are no more."
        )
    if plan.semi.steps != semi.steps:
        yield (
            f"SPICE-Semi runs {plan.semi.steps} steps instead of {semi.steps}: "
            f"{plan.semi.epochs} equal stretches of {plan.semi.steps_per_epoch}."
        )


def _too_few(plan: Plan) -> str:
    return (
        f"{plan.num_images} items in {plan.num_clusters} clusters are too few to judge the "
        "clusters by their items' neighbours: how reliable they are cannot be told. From "
        f"{fewest_items(plan.num_clusters)} items on (four a cluster) it can."
    )


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def make_plan(config: RunConfig, items: int | PartCounts) -> Plan:
    """Work out sizes and steps for this many images.

    Args:
        config: The configuration.
        items: Readable images of the source, or of each of its parts.

    Returns:
        The plan; `notes` states every adaptation to small data.

    Raises:
        UserError: If the data is too small for what the configuration states explicitly.
    """
    parts = PartCounts(items) if isinstance(items, int) else items
    rows = stage_rows(parts, config.data.protocol, extra_in_semi=config.semi.use_extra)
    num_images = _length(rows.clustered)
    pretrain = _pretrain_plan(config, _length(rows.pretrained))
    problems = _impossible(config, num_images, pretrain)
    if problems:
        lines = "\n".join(f"  {', '.join(p.paths)}: {p.message}" for p in problems)
        raise UserError(f"The configuration does not fit the data:\n{lines}")
    image_bytes = 3 * parts.total * config.data.image_size**2
    # The first of them is the item itself, which says nothing.
    neighbors = max(2, min(config.reliable.num_neighbors, _half_a_cluster(config, num_images)))
    plan = Plan(
        num_images=num_images,
        reported_images=_length(rows.reported),
        num_clusters=config.num_clusters,
        image_bytes=0 if config.data.source == "embeddings" else image_bytes,
        pretrain=pretrain,
        self_labeling=_self_plan(config, num_images),
        reliable=ReliablePlan(neighbors),
        semi=_semi_plan(config, _length(rows.unlabeled)),
    )
    return replace(plan, notes=tuple(_adaptations(config, plan)))


def _half_a_cluster(config: RunConfig, num_images: int) -> int:
    """Half the images of an even cluster: a neighbour farther off may be of another one."""
    return max(1, num_images // (2 * config.num_clusters))


def _pretrain_plan(config: RunConfig, num_images: int) -> PretrainPlan:
    section = config.pretrain
    batch = section.batch_size or _auto_batch(num_images)
    low, high = _AUTO_EPOCHS
    epochs = section.epochs or min(high, max(low, round(_AUTO_VIEWS / max(1, num_images))))
    return PretrainPlan(
        num_images=num_images,
        batch_size=batch,
        epochs=epochs if config.trains_encoder else 0,
        steps_per_epoch=num_images // batch,
        queue_size=section.queue_size or _auto_queue(num_images, batch),
    )


def _semi_plan(config: RunConfig, num_images: int) -> SemiPlan:
    semi = config.semi
    epochs = math.ceil(semi.steps / semi.steps_per_epoch)
    return SemiPlan(
        num_images=num_images,
        epochs=epochs if semi.enabled else 0,
        steps_per_epoch=math.ceil(semi.steps / epochs),
        labeled_batch=semi.labeled_batch,
        unlabeled_batch=min(semi.labeled_batch * semi.unlabeled_ratio, num_images),
    )


def _self_plan(config: RunConfig, num_images: int) -> SelfLabelingPlan:
    """Work out the numbers of the self-labelling stage, whichever its objective."""
    section = config.self_labeling
    usual = head_training("neighbors", num_images, config.num_clusters)
    pairs = min(section.neighbors.batch_size or usual.batch_size, num_images)
    large, epochs = min(section.large_batch, num_images), section.epochs
    pseudo_labels = None
    partners = min(section.neighbors.num_neighbors, _half_a_cluster(config, num_images))
    if section.objective == "neighbors":
        large, epochs = pairs, section.neighbors.epochs or usual.epochs
    elif section.objective == "sic":
        large, epochs = min(section.sic.batch_size, num_images), section.sic.epochs
        partners = min(section.sic.num_neighbors, num_images - 1)
    else:
        pseudo_labels = _pseudo_label_plan(config, large)
    iterations = num_images // large
    return SelfLabelingPlan(
        epochs=epochs,
        large_batch=large,
        iterations_per_epoch=iterations,
        encoder_passes=_encoder_passes(config, num_images, epochs * iterations, pseudo_labels),
        pairs_per_step=pairs,
        num_neighbors=partners,
        pseudo_labels=pseudo_labels,
    )


def _pseudo_label_plan(config: RunConfig, large_batch: int) -> PseudoLabelPlan:
    section = config.self_labeling
    per_cluster = large_batch // config.num_clusters
    labels = config.num_clusters * per_cluster
    batch = min(section.batch_size, labels)
    return PseudoLabelPlan(
        confident_per_cluster=max(1, int(section.confident_ratio * per_cluster)),
        labels_per_cluster=per_cluster,
        labels=labels,
        batch_size=batch,
        steps=section.num_repeats * (labels // batch),
    )


def _encoder_passes(
    config: RunConfig, num_images: int, iterations: int, pseudo_labels: PseudoLabelPlan | None
) -> int:
    """Count what the self-labelling stage asks of the encoder, in forward passes."""
    section = config.self_labeling
    if config.data.source == "embeddings":
        return 0
    if section.cached_views is not None:
        return num_images * (1 + section.cached_views.weak + section.cached_views.strong)
    large = min(section.large_batch, num_images)
    if pseudo_labels is not None and section.moves_encoder and section.train_encoder:
        # Forward and back for every pair of every head, and the weak views.
        groups = CLAIM_EVENNESS[section.sizes] or (None,)
        heads = section.num_heads * len(groups)
        pairs = heads * pseudo_labels.steps * pseudo_labels.batch_size
        return iterations * (large + 3 * pairs)
    return 2 * iterations * large

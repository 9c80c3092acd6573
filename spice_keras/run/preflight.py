"""What can be known of a run before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Collection

from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.config.plan import SelfLabelingPlan
from spice_keras.errors import UserError
from spice_keras.progress import clock
from spice_keras.run.cluster import Cluster
from spice_keras.run.estimate import stage_seconds
from spice_keras.run.sources import count_sources
from spice_keras.words.text_encoder import read_nouns, require_text_encoder
from spice_keras.words.vocabulary import classifier_vocabulary, vocabulary_from_file


def preflight(config: RunConfig) -> Plan | None:
    """Refuse what cannot work on this data, before anything is decoded.

    The sources that are opened for it are kept for the run: see `run.sources.take_sources`.

    Args:
        config: The configuration.

    Returns:
        The plan; None if the number of items is not known yet.

    Raises:
        UserError: If the data is missing or empty, too few for the clusters, or a package is
            missing.
    """
    count = count_sources(config.data)
    return None if count is None else make_plan(config, count)


def check_words(config: RunConfig) -> None:
    """Refuse a vocabulary that cannot be read, before anything heavy.

    Args:
        config: The configuration.

    Raises:
        UserError: If the words are missing, damaged, or fewer than there are clusters; or if SIC
            is asked for and the encoder has no words that can be read.
    """
    chosen, nouns = config.words.vocabulary, config.words.nouns
    if chosen not in (None, "none"):
        count = vocabulary_from_file(str(chosen)).num_words
    elif nouns is not None:
        count = len(read_nouns(nouns))
        require_text_encoder()
    elif config.self_labeling.objective == "sic" and chosen is None:
        count = classifier_vocabulary(config.backbone.name).num_words
    else:
        return
    if count < config.num_clusters:
        raise UserError(
            f"The vocabulary {chosen or nouns or config.backbone.name} has {count} words, too few "
            f"for {config.num_clusters} clusters. Add words, or ask for fewer clusters."
        )


def describe_run(config: RunConfig, plan: Plan, stages: Collection[str]) -> list[str]:
    """Say in a few lines what will happen, and how long it takes.

    Args:
        config: The configuration.
        plan: Its sizes and steps.
        stages: The stages that will run.

    Returns:
        A line for each stage that does something, the adaptations, and the time of all.
    """
    times = stage_seconds(config, plan)
    lines = []
    for stage, text in _stage_texts(config, plan).items():
        if stage in stages and text is not None:
            seconds = (times or {}).get(stage)
            lines.append(f"  {stage:<9} {text:<56}{clock(seconds) if seconds else '':>8}".rstrip())
    if config.strategy != "none":
        lines.append(f"  devices   {_sharing(config)}")
    lines += [f"  note      {note}" for note in plan.notes]
    if times is None:
        return [*lines, "  time      the first steps tell how long it takes"]
    total = clock(sum(seconds for stage, seconds in times.items() if stage in stages))
    return [*lines, f"  time      about {total} on two idle cores; the run says its own"]


def _sharing(config: RunConfig) -> str:
    """What shares the steps of training, as far as it is known before TensorFlow starts."""
    if config.strategy == "mirrored":
        return "mirrored: all GPUs of this machine share each step"
    cluster = Cluster.from_environment()
    return f"multiworker: {', '.join(cluster.workers)} share each step"


def _stage_texts(config: RunConfig, plan: Plan) -> dict[str, str | None]:
    """What each stage will do, in at most 56 characters; None for one that does nothing."""
    pretrain, heads, semi = plan.pretrain, plan.self_labeling, plan.semi
    side = config.data.image_size
    images = bool(plan.image_bytes)
    read = f"{plan.num_images:,} decoded to {side} x {side} pixels" if images else "read"
    encoder = config.backbone.name
    steps = heads.epochs * heads.iterations_per_epoch
    return {
        "images": f"{read}, {plan.image_bytes / 2**20:,.1f} MiB" if images else None,
        "pretrain": f"{encoder}, {pretrain.steps:,} steps of {pretrain.batch_size}"
        if pretrain.epochs
        else None,
        "embed": f"{encoder} as it is, views encoded too: {heads.encoder_passes:,}"
        if config.self_labeling.cached_views is not None
        else f"every image by {encoder}"
        if images
        else None,
        "self": f"heads of {plan.num_clusters} clusters, "
        f"{steps:,} {'steps' if heads.pseudo_labels is None else 'iterations'}",
        "reliable": f"by {plan.reliable.num_neighbors} neighbours of each",
        "semi": f"{semi.steps:,} steps, {semi.labeled_batch} + {semi.unlabeled_batch} images"
        if semi.epochs
        else None,
        "eval": "figures, tables and the report",
        "export": "the SavedModel, checked",
    }


def describe_plan(plan: Plan) -> list[str]:
    """Put the arithmetic of a run into lines.

    Args:
        plan: The plan.

    Returns:
        A line for each stage, then the adaptations.
    """
    pretrain, semi = plan.pretrain, plan.semi
    mib = plan.image_bytes / 2**20
    count = f"{plan.num_images} ({mib:,.1f} MiB decoded)"
    lines = [f"items       {count}, {plan.num_clusters} clusters"]
    others = (pretrain.num_images, semi.num_images, plan.reported_images)
    if any(number != plan.num_images for number in others):
        lines.append(
            "protocol    {} images pretrain, {} are clustered, {} unlabelled in SPICE-Semi, "
            "{} reported".format(others[0], plan.num_images, *others[1:])
        )
    if pretrain.epochs:
        lines.append(
            f"pretrain    {pretrain.epochs} epochs x {pretrain.steps_per_epoch} batches "
            f"of {pretrain.batch_size} = {pretrain.steps} steps, queue {pretrain.queue_size}"
        )
    lines += _describe_self(plan.self_labeling)
    lines.append(f"reliable    n_s = {plan.reliable.num_neighbors} neighbours")
    if semi.epochs:
        lines.append(
            f"semi        {semi.steps} steps, {semi.labeled_batch} labelled and "
            f"{semi.unlabeled_batch} unlabelled images each (the latter twice)"
        )
    return [*lines, *(f"note        {note}" for note in plan.notes)]


def _describe_self(plan: SelfLabelingPlan) -> list[str]:
    epochs = f"self        {plan.epochs} epochs x {plan.iterations_per_epoch}"
    labels = plan.pseudo_labels
    if labels is None:
        return [f"{epochs} steps of {plan.large_batch} pairs, {plan.num_neighbors} neighbours"]
    return [
        f"{epochs} iterations, M = {plan.large_batch}; {labels.confident_per_cluster} confident "
        f"and {labels.labels_per_cluster} labelled images for each cluster",
        f"            {labels.labels} pseudo-labels per iteration, "
        f"{labels.steps} head steps with batches of {labels.batch_size}",
    ]

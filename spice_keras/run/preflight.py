"""What can be known of a run before anything heavy is imported."""

from __future__ import annotations

from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.config.plan import SelfLabelingPlan
from spice_keras.errors import UserError
from spice_keras.run.sources import count_sources
from spice_keras.words.text_encoder import read_nouns, require_text_encoder
from spice_keras.words.vocabulary import vocabulary_from_file


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
        UserError: If the file is missing, damaged, or has fewer words than there are clusters.
    """
    chosen, nouns = config.words.vocabulary, config.words.nouns
    if chosen not in (None, "none"):
        count = vocabulary_from_file(str(chosen)).num_words
    elif nouns is not None:
        count = len(read_nouns(nouns))
        require_text_encoder()
    else:
        return
    if count < config.num_clusters:
        raise UserError(
            f"The vocabulary {chosen or nouns} has {count} words, too few for "
            f"{config.num_clusters} clusters. Add words, or ask for fewer clusters."
        )


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

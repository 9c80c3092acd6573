"""What can be known of a run before anything heavy is imported."""

from __future__ import annotations

from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.extras import require_faiss
from spice_keras.run.sources import count_sources


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
    if config.embed.neighbor_search == "approximate":
        require_faiss()
    count = count_sources(config.data)
    return None if count is None else make_plan(config, count)


def describe_plan(plan: Plan, objective: str) -> list[str]:
    """Put the arithmetic of a run into lines.

    Args:
        plan: The plan.
        objective: Of the self-labelling stage.

    Returns:
        A line for each stage, then the adaptations.
    """
    mib = plan.image_bytes / 2**20
    count = f"{plan.num_images} ({mib:,.1f} MiB decoded)"
    lines = [f"items       {count}, {plan.num_clusters} clusters"]
    others = (plan.pretrain_images, plan.unlabeled_images, plan.reported_images)
    if any(number != plan.num_images for number in others):
        lines.append(
            "protocol    {} images pretrain, {} are clustered, {} unlabelled in SPICE-Semi, "
            "{} reported".format(others[0], plan.num_images, *others[1:])
        )
    if plan.pretrain_epochs:
        lines.append(
            f"pretrain    {plan.pretrain_epochs} epochs x {plan.pretrain_steps_per_epoch} batches "
            f"of {plan.pretrain_batch} = {plan.pretrain_steps} steps, queue {plan.queue_size}"
        )
    lines += _describe_self(plan, objective)
    lines.append(f"reliable    n_s = {plan.num_neighbors} neighbours")
    if plan.semi_epochs:
        lines.append(
            f"semi        {plan.semi_steps} steps, {plan.labeled_batch} labelled and "
            f"{plan.unlabeled_batch} unlabelled images each (the latter twice)"
        )
    return [*lines, *(f"note        {note}" for note in plan.notes)]


def _describe_self(plan: Plan, objective: str) -> list[str]:
    epochs = f"self        {plan.self_epochs} epochs x {plan.iterations_per_epoch}"
    if objective == "neighbors":
        return [f"{epochs} steps of {plan.large_batch} pairs, {plan.head_neighbors} neighbours"]
    return [
        f"{epochs} iterations, M = {plan.large_batch}; {plan.confident_per_cluster} confident and "
        f"{plan.labels_per_cluster} labelled images for each cluster",
        f"            {plan.pseudo_labels_per_iteration} pseudo-labels per iteration, "
        f"{plan.head_steps_per_iteration} head steps with batches of {plan.head_batch}",
    ]

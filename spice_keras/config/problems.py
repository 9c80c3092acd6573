"""Options that are each valid, and impossible together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spice_keras.config.schema import RunConfig


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the options it concerns, and what is wrong with them."""

    paths: tuple[str, ...]
    message: str


def _pretrain_problems(config: RunConfig) -> Iterator[Problem]:
    batch, queue = config.pretrain.batch_size, config.pretrain.queue_size
    if batch is not None and queue is not None and queue % batch:
        yield Problem(
            ("pretrain.queue_size", "pretrain.batch_size"),
            f"the queue must be a multiple of the batch: {queue} is not a multiple of {batch}; "
            f"the nearest is {max(1, round(queue / batch)) * batch}",
        )
    groups = config.pretrain.bn_groups
    if batch is not None and batch % groups:
        yield Problem(
            ("pretrain.bn_groups", "pretrain.batch_size"),
            f"a batch of {batch} cannot be cut into {groups} equal groups",
        )
    views = config.pretrain.views
    if views.policy == "moco" and views.min_scale > views.max_scale:
        yield Problem(
            ("pretrain.views",),
            f"min_scale {views.min_scale} is larger than max_scale {views.max_scale}",
        )


def _source_problems(config: RunConfig) -> Iterator[Problem]:
    data = config.data
    if data.source == "digits" and data.path is not None:
        yield Problem(
            ("data.path", "data.source"),
            "the digits ship with scikit-learn and take no path; "
            "for images of your own set data.source to folder or arrays",
        )
    if data.source != "digits" and not data.path:
        yield Problem(
            ("data.path", "data.source"),
            f"the source {data.source} needs a path (on the command line: --images PATH)",
        )
    if data.labels == "from-folders" and data.source != "folder":
        yield Problem(
            ("data.labels", "data.source"),
            f"labels from-folders need the source folder. Received: {data.source}",
        )


def problems_between_options(config: RunConfig) -> list[Problem]:
    """List the combinations of options that cannot work, whatever the data.

    Args:
        config: A configuration whose single options are valid.

    Returns:
        The problems, in the order of the stages.
    """
    problems = [*_source_problems(config), *_pretrain_problems(config)]
    large_batch, clusters = config.self_labeling.large_batch, config.num_clusters
    if large_batch < clusters:
        problems.append(
            Problem(
                ("self.large_batch", "num_clusters"),
                f"M must hold at least one image for each cluster: {large_batch} < {clusters}",
            )
        )
    return problems

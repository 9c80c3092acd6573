"""What accuracy to expect of a run's heads, and how sure they may be of themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spice_keras.metrics.calibration import (
    cautious,
    temperature_for,
    tempered,
    tempered_weights,
)
from spice_keras.metrics.expected_accuracy import (
    JUDGED_OBJECTIVES,
    ExpectedAccuracy,
    Judged,
    applies,
    expected_accuracy,
    guided_figures,
    least_accuracy,
    trust_figures,
)
from spice_keras.run.context import Context
from spice_keras.run.store import Heads
from spice_keras.scratch import scratch_array

_ENOUGH_HEADS = 2  # guided heads are not compared with each other


def expectation(context: Context, heads: Heads) -> ExpectedAccuracy | None:
    """Work out the accuracy to expect.

    Args:
        context: The run, or its test part.
        heads: Its heads.

    Returns:
        The expectation; None for clusterings the mapping was not fitted on.
    """
    config, bank = context.config, context.bank
    if not _fitted_for(context, heads):
        return None
    judged = Judged(
        heads.clusters,
        config.num_clusters,
        bank.normalized,
        bank.neighbors,
        heads.other_heads,
    )
    samples, seed = config.evaluate.silhouette_samples, context.seed("silhouette")
    return expected_accuracy(trust_figures(judged, silhouette_samples=samples, seed=seed))


def least(context: Context, heads: Heads) -> float | None:
    """Work out the accuracy that clusters guided by words reach at least.

    Args:
        context: The run, or its test part.
        heads: Its heads.

    Returns:
        The accuracy; None for heads that no words guide, or of another kind than those it was
        fitted on.
    """
    config, bank, clusters = context.config, context.bank, heads.clusters
    if not heads.guided or config.self_labeling.objective != "neighbors":
        return None
    if not applies(len(clusters), config.num_clusters, len(np.unique(clusters)), _ENOUGH_HEADS):
        return None
    near = bank.neighbors[:, 1:]
    return least_accuracy(guided_figures(clusters, config.num_clusters, near, bank.normalized))


def _fitted_for(context: Context, heads: Heads) -> bool:
    """Whether the heads are of the kind the mapping was fitted on, or tried on."""
    objective = context.config.self_labeling.objective
    if heads.guided or objective not in JUDGED_OBJECTIVES:
        return False
    if objective == "prototypes" and context.config.trains_encoder:
        return False
    used, trained = len(np.unique(heads.clusters)), len(heads.assignments)
    return applies(len(heads.clusters), context.config.num_clusters, used, trained)


def calibrated(context: Context, heads: Heads) -> Heads:
    """Make heads as sure of themselves as the expected share of right items.

    Args:
        context: The run.
        heads: As they were trained.

    Returns:
        The same clusters, with probabilities and output weights by one temperature; the heads as
        they are if no share can be expected.
    """
    expected = expectation(context, heads)
    if expected is None or heads.head is None:
        return heads
    temperature = temperature_for(heads.probabilities, cautious(expected.purity))
    room = scratch_array(heads.probabilities.shape, np.float32, context.run.path)
    return replace(
        heads,
        probabilities=tempered(heads.probabilities, temperature, room),
        weights=tempered_weights(heads.weights, temperature),
        temperature=temperature,
    )

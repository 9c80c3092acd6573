"""Names of the clusters: the words that set each apart from the rest."""

from __future__ import annotations

import numpy as np

from spice_keras.config import RunConfig
from spice_keras.options import LITE0
from spice_keras.run.context import Context
from spice_keras.run.results import final_result
from spice_keras.run.store import Embeddings, Names
from spice_keras.words.naming import ClusterName, name_clusters, word_evidence
from spice_keras.words.probabilities import probability_blocks
from spice_keras.words.vocabulary import Vocabulary, classifier_vocabulary, vocabulary_from_file

SMALLEST_SIDE = 160
"""Below this the encoder's words are sure of themselves and often wrong: no cluster is named."""


def name(context: Context) -> None:
    """Name the clusters of what is reported, and write the artifact `names`.

    Args:
        context: The run; its training stages are finished.

    Raises:
        UserError: If the vocabulary cannot be read or does not fit the embeddings.
    """
    found = names_of(context)
    context.save(found)
    if found.source is None:
        return
    named = [one.name for one in found.names if one.name is not None]
    count = context.config.num_clusters
    context.screen.say(
        f"name: {len(named)} of {count} clusters{': ' if named else ''}{', '.join(named)}."
    )


def names_of(context: Context) -> Names:
    """Work out the names of the clusters.

    Args:
        context: The run.

    Returns:
        A name for each cluster, or the reason why it has none.
    """
    config = context.config
    reason = _no_words(config, has_images=context.has_images)
    if reason is not None:
        return Names((ClusterName(None, reason=reason),) * config.num_clusters, None, False)
    vocabulary = vocabulary_of(config)
    part = context.reported_parts[0]
    features = part.load(Embeddings).features
    if features is None:
        features = part.given_features
    vocabulary.check_fits(features.shape[1], config.num_clusters)
    result = final_result(part)
    evidence = word_evidence(
        probability_blocks(vocabulary, np.asarray(features)),
        result.clusters,
        config.num_clusters,
        result.confidence,
    )
    names = name_clusters(evidence, vocabulary.concepts())
    return Names(names, vocabulary.source, vocabulary.trained_with_labels)


def _no_words(config: RunConfig, *, has_images: bool) -> str | None:
    """Say why a run has no vocabulary; None if it has one."""
    chosen = config.words.vocabulary
    if chosen == "none":
        return "Names were not asked for (words.vocabulary is none)."
    if chosen is not None:
        return None
    if not has_images:
        return "Embeddings come without words; give them with --words FILE."
    if not config.has_words:
        return f"The encoder has no words of its own; give them with --words FILE ({LITE0} has)."
    if config.data.image_size < SMALLEST_SIDE:
        return (
            f"At {config.data.image_size} pixels the encoder's words are often wrong; names are "
            f"given from {SMALLEST_SIDE} pixels on."
        )
    return None


def vocabulary_of(config: RunConfig) -> Vocabulary:
    """Read the words of a run that has some.

    Args:
        config: The configuration.

    Returns:
        The vocabulary.

    Raises:
        UserError: If it cannot be read.
    """
    chosen = config.words.vocabulary
    if chosen is None:
        return classifier_vocabulary(LITE0)
    return vocabulary_from_file(chosen)

"""Names of the clusters: the words that set each apart from the rest."""

from __future__ import annotations

from spice_keras.run.context import Context
from spice_keras.run.results import final_result
from spice_keras.run.store import Names
from spice_keras.stages.vocabulary import encoded_features, words_of
from spice_keras.words.naming import ClusterName, name_clusters, word_evidence
from spice_keras.words.probabilities import probability_blocks


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
    vocabulary = words_of(config, has_images=context.has_images)
    if isinstance(vocabulary, str):
        unnamed = ClusterName(None, reason=vocabulary)
        return Names((unnamed,) * config.num_clusters, None, False)
    part = context.reported_parts[0]
    features = encoded_features(part)
    vocabulary.check_fits(features.shape[1], config.num_clusters)
    result = final_result(part)
    evidence = word_evidence(
        probability_blocks(vocabulary, features),
        result.clusters,
        config.num_clusters,
        result.confidence,
    )
    names = name_clusters(evidence, vocabulary.concepts())
    return Names(names, vocabulary.source, vocabulary.trained_with_labels)

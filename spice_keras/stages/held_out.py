"""What the finished model says of test images that no stage before has seen.

Only under the protocol `split`. The artifact `test` holds, of the test images, what the stages
left of the train images, under the same names, so that evaluation reads either in one way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.local_consistency import local_consistency, reliable_labels
from spice_keras.heads.selection import head_logits
from spice_keras.run.context import Context
from spice_keras.run.networks import (
    classified,
    head_encoder,
    merged_clusters,
    merged_probabilities,
    pretrained_encoder,
    semi_network,
)
from spice_keras.run.store import Artifact, Classifier, Embeddings, Heads, Reliable
from spice_keras.training.encoding import encode_images


def classify_test(context: Context) -> None:
    """Embed and classify the test images and write the artifact `test`.

    Args:
        context: The run; its training stages are finished.
    """
    test = context.reported_parts[0]
    features = _features(test)
    space = context.space
    embeddings = Embeddings(_neighbors(test, features), features, space=space)
    heads = _heads(test, context.load(Heads), features, _head_merge(context))
    found: list[Artifact] = [embeddings, heads, _reliable(test, heads, embeddings.neighbors)]
    if context.config.semi.enabled:
        found.append(
            _merged_classifier(
                classified(semi_network(context), test.images), merged_clusters(context)
            )
        )
    with context.run.write("test", stage="test") as folder:
        for artifact in found:
            (folder / artifact.name).mkdir()
            artifact.save(folder / artifact.name)
    context.screen.say(f"test: {len(test.ids)} images that no stage has seen, classified.")


def _features(test: Context) -> np.ndarray:
    with test.screen.task("test", len(test.images)) as task:
        return encode_images(pretrained_encoder(test), test.images, task=task)


def _neighbors(test: Context, features: np.ndarray) -> np.ndarray:
    """The neighbours of a test image are test images."""
    half_a_cluster = len(features) // (2 * test.config.num_clusters)
    # The first of them is the image itself, which says nothing.
    count = max(2, min(test.plan.reliable.num_neighbors, half_a_cluster))
    count = min(count, len(features))
    return test.neighbor_search(test.similarity_rows(features, test.space), count)


def _head_merge(context: Context) -> list[int] | None:
    """The cluster that each of the chosen head's went into, if a person merged some."""
    path = Heads.merge_file(context.folder(Heads))
    return np.load(path, allow_pickle=False).tolist() if path.is_file() else None


def _merged_classifier(found: Classifier, merge: list[int] | None) -> Classifier:
    if merge is None:
        return found
    return replace(found, probabilities=merged_probabilities(found.probabilities, merge))


def _heads(test: Context, trained: Heads, features: np.ndarray, merge: list[int] | None) -> Heads:
    """What every head says, and the probabilities of the one that was chosen.

    If a person merged its clusters, the other heads' are left out: they are numbered otherwise.
    """
    if test.config.self_labeling.moves_encoder:
        features = encode_images(head_encoder(test), test.images)
    classifier = trained.classifier(test.space)
    logits = head_logits(classifier, features)
    probabilities = tf.nn.softmax(logits[trained.head]).numpy()
    assignments = logits.argmax(axis=2).astype(np.int32)
    if merge is not None:
        probabilities = merged_probabilities(probabilities, merge)
        assignments = probabilities.argmax(axis=1).astype(np.int32)[None]
    facts = trained.head, trained.epoch, trained.loss
    return Heads(probabilities, assignments, *facts, temperature=trained.temperature)


def _reliable(test: Context, heads: Heads, neighbors: np.ndarray) -> Reliable:
    """Which test images pass the thresholds of the reliable labels; none is repaired."""
    section = test.config.reliable
    consistency = local_consistency(heads.clusters, neighbors)
    found = reliable_labels(
        heads.clusters,
        heads.trained_confidence,
        consistency,
        num_clusters=test.config.num_clusters,
        consistency_threshold=section.consistency_threshold,
        confidence_threshold=section.confidence_threshold,
        min_per_cluster=0,
    )
    return Reliable(found.indices, found.labels, consistency)

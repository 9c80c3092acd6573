"""What the finished model says of test images that no stage before has seen.

Only under the protocol `split`. The artifact `test` holds, of the test images, what the stages
left of the train images, under the same names, so that evaluation reads either in one way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.local_consistency import local_consistency, reliable_labels
from spice_keras.heads.selection import head_logits
from spice_keras.run.context import Context
from spice_keras.stages.assignment import Assignment
from spice_keras.stages.embed import encode_images
from spice_keras.stages.encoder import load_encoder
from spice_keras.stages.moving_encoder import head_features
from spice_keras.stages.reliable import save_reliable
from spice_keras.stages.self_label import read_classifier, read_self
from spice_keras.stages.semi import classify, read_semi_model


def classify_test(context: Context) -> None:
    """Embed and classify the test images and write the artifact `test`.

    Args:
        context: The run; its training stages are finished.
    """
    test = context.judged[0]
    with context.run.write("test", stage="test") as folder:
        for name in ("embeddings", "heads", "reliable"):
            (folder / name).mkdir()
        features = _embed(test, folder / "embeddings")
        neighbors = np.load(folder / "embeddings" / "neighbors.npy", allow_pickle=False)
        said = _assign(test, features, folder / "heads")
        _judge_reliability(test, said, neighbors, folder / "reliable")
        if context.config.semi.enabled:
            (folder / "classifier").mkdir()
            outputs = classify(read_semi_model(context), test.images)
            for name in ("probabilities", "embedding"):
                np.save(folder / "classifier" / f"{name}.npy", outputs[name], allow_pickle=False)
    context.screen.say(f"test: {len(test.ids)} images that no stage has seen, classified.")


def _embed(test: Context, folder: Path) -> np.ndarray:
    """Write features and neighbours; the neighbours of a test image are test images."""
    config = test.config
    encoder = load_encoder(
        test.run.read("encoder", written_by="pretrain"),
        config.backbone,
        image_size=config.data.image_size,
    )
    with test.screen.task("test", len(test.images)) as task:
        features = encode_images(encoder, test.images, task)
    half_a_cluster = max(1, len(features) // (2 * config.num_clusters))
    count = min(test.plan.reliable.num_neighbors, half_a_cluster)
    neighbors = test.neighbor_search(l2_normalized(features), count)
    np.save(folder / "features.npy", features, allow_pickle=False)
    np.save(folder / "neighbors.npy", neighbors, allow_pickle=False)
    return features


def _assign(test: Context, features: np.ndarray, folder: Path) -> Assignment:
    """Write what every head says, and the probabilities of the one that was chosen."""
    logits = head_logits(read_classifier(test), head_features(test, features))
    head = read_self(test.trained or test).head
    probabilities = tf.nn.softmax(logits[head]).numpy()
    assignments = logits.argmax(axis=2).astype(np.int32)
    np.save(folder / "probabilities.npy", probabilities, allow_pickle=False)
    np.save(folder / "assignments.npy", assignments, allow_pickle=False)
    return Assignment(probabilities)


def _judge_reliability(
    test: Context, said: Assignment, neighbors: np.ndarray, folder: Path
) -> None:
    """Write which test images pass the thresholds of the reliable labels; none is repaired."""
    section = test.config.reliable
    consistency = local_consistency(said.clusters, neighbors)
    found = reliable_labels(
        said.clusters,
        said.confidence,
        consistency,
        num_clusters=test.config.num_clusters,
        consistency_threshold=section.consistency_threshold,
        confidence_threshold=section.confidence_threshold,
        min_per_cluster=0,
    )
    save_reliable(folder, found, consistency)

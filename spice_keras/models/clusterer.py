"""The clusterer: an image in, its cluster and the confidence of it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="spice_keras")
class ClusterAssignment(keras.layers.Layer):
    """Cluster assignment: features and logits to cluster, confidence, probabilities, embedding.

    SPICE (arXiv 2103.09382) Sec. 3.2: the embedding is the L2-normalised feature, the cluster the
    most probable one.
    """

    def call(self, features: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads off the assignment.

        Args:
            features: Pooled features ``[B, D]``.
            logits: Scores of the clusters ``[B, K]``.

        Returns:
            ``cluster`` int32 ``[B]``, ``confidence`` float32 ``[B]`` in [0, 1], ``probabilities``
            float32 ``[B, K]`` and ``embedding`` float32 ``[B, D]`` of unit length.
        """
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32), axis=-1)
        return {
            "cluster": tf.argmax(probabilities, axis=-1, output_type=tf.int32),
            "confidence": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
            "embedding": tf.math.l2_normalize(tf.cast(features, tf.float32), axis=-1),
        }

    def compute_output_spec(
        self, features: keras.KerasTensor, logits: keras.KerasTensor
    ) -> dict[str, keras.KerasTensor]:
        """Shapes and dtypes of the four outputs."""
        batch = features.shape[0]
        return {
            "cluster": keras.KerasTensor((batch,), dtype="int32"),
            "confidence": keras.KerasTensor((batch,), dtype="float32"),
            "probabilities": keras.KerasTensor(logits.shape, dtype="float32"),
            "embedding": keras.KerasTensor(features.shape, dtype="float32"),
        }

    def get_config(self) -> dict[str, Any]:
        """The base layer's arguments."""
        return super().get_config()


@keras.saving.register_keras_serializable(package="spice_keras")
class MergedClusters(keras.layers.Layer):
    """Clusters put together: the logit of each is the largest of those that went into it.

    The largest, not the sum of probabilities: so an image is in a merged cluster exactly if it was
    in one of its parts.

    Args:
        merge: The cluster each of the K old ones went into, from 0 on without a gap. Shape: (K,).
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If a cluster would be made of none.
    """

    def __init__(self, merge: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.merge = [int(cluster) for cluster in merge]
        if not self.merge or set(self.merge) != set(range(max(self.merge) + 1)):
            raise ValueError(f"Merged clusters must be numbered from 0. Received: merge={merge}")

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Puts logits together.

        Args:
            logits: Scores of the old clusters ``[B, K]``.

        Returns:
            Scores of the new ones ``[B, max(merge) + 1]``.
        """
        columns = tf.math.unsorted_segment_max(
            tf.transpose(logits), tf.constant(self.merge), max(self.merge) + 1
        )
        return tf.transpose(columns)

    def compute_output_spec(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """Shape ``[B, max(merge) + 1]``."""
        return keras.KerasTensor((logits.shape[0], max(self.merge) + 1), dtype=logits.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"merge": self.merge}


def build_clusterer(
    encoder: keras.Model, classifier: keras.Model, merge: Sequence[int] | None = None
) -> keras.Model:
    """Clusterer from an encoder and a classifier on its features.

    Args:
        encoder: uint8 ``[B, S, S, 3]`` to pooled features ``[B, D]``; shared, not copied.
        classifier: Features ``[B, D]`` to logits ``[B, K]``.
        merge: Clusters that are put together, see ``MergedClusters``.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to the dictionary of ``ClusterAssignment``.
    """
    return _assigning(encoder.input, encoder.output, classifier(encoder.output), merge)


def embedding_clusterer(classifier: keras.Model, merge: Sequence[int] | None = None) -> keras.Model:
    """Clusterer of embeddings that were made elsewhere.

    Args:
        classifier: Features ``[B, D]`` to logits ``[B, K]``, a chosen clustering head.
        merge: Clusters that are put together, see ``MergedClusters``.

    Returns:
        A functional model: float32 ``[B, D]`` to the dictionary of ``ClusterAssignment``.
    """
    inputs = keras.Input(classifier.input_shape[1:], name="embeddings")
    return _assigning(inputs, inputs, classifier(inputs), merge)


def clusterer_from_network(network: keras.Model, merge: Sequence[int] | None = None) -> keras.Model:
    """Clusterer from a network of SPICE-Semi, usually ``SpiceSemi.ema_network``.

    Args:
        network: uint8 images to logits, its last layer a classifier on pooled features; shared,
            not copied.
        merge: Clusters that are put together, see ``MergedClusters``.

    Returns:
        A functional model, see ``build_clusterer``.

    SPICE (arXiv 2103.09382) Sec. 3.3.
    """
    return _assigning(network.input, network.layers[-1].input, network.output, merge)


def _assigning(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    logits: keras.KerasTensor,
    merge: Sequence[int] | None,
) -> keras.Model:
    if merge is not None:
        logits = MergedClusters(merge, dtype="float32", name="merged")(logits)
    assignment = ClusterAssignment(dtype="float32", name="assignment")
    return keras.Model(images, assignment(features, logits), name="clusterer")

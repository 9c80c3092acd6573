"""Neighbour clustering: heads trained to give neighbours the same cluster, the encoder frozen."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from spice_keras.algorithm.neighbor_consistency import mean_entropy, neighbor_consistency
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.models.partly_trained import PartlyTrainedModel
from spice_keras.options import InputScale


@keras.saving.register_keras_serializable(package="spice_keras")
class NeighborClustering(PartlyTrainedModel):
    """The second self-labelling objective: a sample and its neighbour belong to one cluster.

    Trains on batches ``{"anchor", "neighbor"}`` of float32 features ``[B, D]``, row i of the one
    a nearest neighbour of row i of the other (or another view of it). The loss of a head is
    ``-mean ln <p, q> - entropy_weight * H(mean p)``; one step trains all heads, as one batched
    product. ``compile`` takes an optimizer only.

    Args:
        num_clusters: Number of clusters K, >= 2.
        feature_dim: Width of the features D.
        num_heads: Number of independent heads H.
        hidden_dim: Width of the heads' hidden layer; None for linear heads.
        input_scale: See ``MultiHeadClassifier``.
        entropy_weight: Weight of the entropy of the mean prediction, >= 0. It keeps clusters from
            emptying, and the larger it is the more even it makes them.
        seed: Seed of the heads' initial weights.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Loss of each head in the last step, float32 ``[H]``.

    Raises:
        ValueError: If an argument is out of its range, or under several replicas.

    SCAN (arXiv 2005.12320) Sec. 2.2, Eq. 2.
    """

    def __init__(
        self,
        num_clusters: int,
        feature_dim: int,
        *,
        num_heads: int = 10,
        hidden_dim: int | None = None,
        input_scale: InputScale = "unit",
        entropy_weight: float = 0.7,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(("loss", "consistency", "cluster_entropy"), seed, **kwargs)
        if not entropy_weight >= 0:
            raise ValueError(
                f"`entropy_weight` must be at least 0. Received: entropy_weight={entropy_weight}"
            )
        self.num_clusters = num_clusters
        self.feature_dim = feature_dim
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.input_scale = input_scale
        self.entropy_weight = entropy_weight
        self.classifier = MultiHeadClassifier(
            num_heads,
            num_clusters,
            hidden_dim,
            seed=seed,
            linear=hidden_dim is None,
            input_scale=input_scale,
            name="classifier",
        )
        self.classifier.build((None, feature_dim))
        self.head_losses = self.add_weight(
            name="head_losses", shape=(num_heads,), dtype="float32", trainable=False,
            initializer="zeros", autocast=False,
        )  # fmt: skip
        self.built = True

    def trained_variables(self) -> list[keras.Variable]:
        """Variables of the clustering heads."""
        return self.classifier.trainable_variables

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Logits of every head for features ``[B, D]``, float32 ``[H, B, K]``."""
        return self.classifier(features)

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimizer step on pairs of neighbours."""
        self._refuse_replicas()
        features = tf.concat([batch["anchor"], batch["neighbor"]], axis=0)
        with tf.GradientTape() as tape:
            scores = tf.nn.log_softmax(self(features))
            anchors, neighbors = tf.split(scores, 2, axis=1)
            consistency = tf.reduce_mean(neighbor_consistency(anchors, neighbors), axis=1)
            entropy = mean_entropy(anchors)
            losses = consistency - self.entropy_weight * entropy
            # Summed, not averaged: each head takes the step it would take alone.
            scaled_loss = self.optimizer.scale_loss(tf.reduce_sum(losses))
        self._descend(tape, scaled_loss)
        self.head_losses.assign(losses)
        return self._report(
            loss=tf.reduce_mean(losses),
            consistency=tf.reduce_mean(consistency),
            cluster_entropy=tf.reduce_mean(entropy) / math.log(self.num_clusters),
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "num_clusters": self.num_clusters,
            "feature_dim": self.feature_dim,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "input_scale": self.input_scale,
            "entropy_weight": self.entropy_weight,
            "seed": self.seed,
        }

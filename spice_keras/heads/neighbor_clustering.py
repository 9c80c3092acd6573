"""Neighbour clustering: heads trained to give neighbours the same cluster, the encoder frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.feature_space import SpaceLike
from spice_keras.algorithm.neighbor_consistency import (
    log_mean_probabilities,
    mean_entropy,
    neighbor_consistency,
)
from spice_keras.heads.multi_head_model import MultiHeadModel
from spice_keras.models.replicas import gathered


@keras.saving.register_keras_serializable(package="spice_keras")
class NeighborClustering(MultiHeadModel):
    """The second self-labelling objective: a sample and its neighbour belong to one cluster.

    Trains on batches ``{"anchor", "neighbor"}`` of float32 features ``[B, D]``, row i of the one
    a nearest neighbour of row i of the other (or another view of it). The loss of a head is
    ``-mean ln <p, q> - entropy_weight * H(mean p)``; one step trains all heads, as one batched
    product. ``compile`` takes an optimizer only. ``predict`` gives logits ``[N, H, K]``.

    Built under a ``tf.distribute.MirroredStrategy``, each replica takes its share of the pairs; the
    mean prediction is that of all shares.

    Args:
        num_clusters: Number of clusters K, >= 2.
        feature_dim: Width of the features D.
        num_heads: Number of independent heads H.
        hidden_dim: Width of the heads' hidden layer; None for linear heads.
        input_scale: See ``MultiHeadClassifier``.
        entropy_weight: Weight of the entropy of the mean prediction, >= 0, or one for each head. It
            keeps clusters from emptying, and the larger it is the more even it makes them.
        seed: Seed of the heads' initial weights.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Loss of each head in the last step, float32 ``[H]``.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras import NeighborClustering, neighbor_views
        >>> features = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
        >>> model = NeighborClustering(3, 8, num_heads=2)
        >>> model.compile(keras.optimizers.Adam(0.001))
        >>> history = model.fit(neighbor_views(features, batch_size=30), epochs=2, verbose=0)
        >>> model.predict(features, verbose=0).shape
        (60, 2, 3)

    SCAN (arXiv 2005.12320) Sec. 2.2, Eq. 2.
    """

    _reported: tuple[str, ...] = ("loss", "consistency", "cluster_entropy")
    weight_decay: float = 0.0
    _takes_replicas = True

    def __init__(
        self,
        num_clusters: int,
        feature_dim: int,
        *,
        num_heads: int = 10,
        hidden_dim: int | None = None,
        input_scale: SpaceLike = "unit",
        entropy_weight: float | Sequence[float] = 0.7,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(self._reported, seed, **kwargs)
        weights = np.atleast_1d(np.asarray(entropy_weight, np.float64))
        if not (weights >= 0).all() or weights.shape not in ((1,), (num_heads,)):
            raise ValueError(
                "`entropy_weight` must be at least 0, one number or one for each head. "
                f"Received: entropy_weight={entropy_weight}, num_heads={num_heads}"
            )
        self.num_clusters = num_clusters
        self.feature_dim = feature_dim
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        same = bool((weights == weights[0]).all())
        self.entropy_weight = float(weights[0]) if same else weights.tolist()
        self._add_heads(
            feature_dim,
            num_heads,
            num_clusters,
            hidden_dim=hidden_dim,
            seed=seed,
            linear=hidden_dim is None,
            input_scale=input_scale,
        )
        self.built = True

    @property
    def batch_parts(self) -> dict[str, str]:
        """Features of samples, and of a neighbour of each."""
        return dict.fromkeys(("anchor", "neighbor"), f"float [B, {self.feature_dim}]")

    @property
    def views_function(self) -> str:
        """What makes such batches."""
        return "spice_keras.views.neighbor_views"

    def trained_variables(self) -> list[keras.Variable]:
        """Variables of the clustering heads."""
        return self.classifier.trainable_variables

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimizer step on pairs of neighbours."""
        self._check_parts(batch)
        with tf.GradientTape() as tape:
            losses, terms = self._loss_by_head(batch)
            # Summed, not averaged: each head takes the step it would take alone.
            scaled_loss = self.optimizer.scale_loss(tf.reduce_sum(losses))
        decayed = self.trained_variables() if self.weight_decay else ()
        self._descend(tape, scaled_loss, self.weight_decay, decayed)
        self.head_losses.assign(losses)
        return self._report_losses(losses, terms)

    def test_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The loss on pairs of neighbours; nothing moves."""
        self._check_parts(batch)
        return self._report_losses(*self._loss_by_head(batch))

    def _loss_by_head(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Loss of each head and its terms, ``[H]``."""
        anchors, neighbors = self._scores_of(batch)
        return self._neighbor_loss(anchors, neighbors)

    def _scores_of(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-softmax of each head for the samples and for their neighbours, ``[H, B, K]``."""
        features = tf.concat([batch["anchor"], batch["neighbor"]], axis=0)
        scores = tf.nn.log_softmax(self.logits_by_head(features))
        anchors, neighbors = tf.split(scores, 2, axis=1)
        return anchors, neighbors

    def _neighbor_loss(
        self, anchors: tf.Tensor, neighbors: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        consistency = tf.reduce_mean(neighbor_consistency(anchors, neighbors), axis=1)
        entropy = mean_entropy(gathered(log_mean_probabilities(anchors), axis=1))
        losses = consistency - tf.constant(self.entropy_weight) * entropy
        return losses, {"consistency": consistency, "cluster_entropy": entropy}

    def _report_losses(
        self, losses: tf.Tensor, terms: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        means = {name: tf.reduce_mean(term) for name, term in terms.items()}
        means["cluster_entropy"] /= math.log(self.num_clusters)
        return self._report(loss=tf.reduce_mean(losses), **means)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "num_clusters": self.num_clusters,
            "feature_dim": self.feature_dim,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "input_scale": self.classifier.space.as_config(),
            "entropy_weight": self.entropy_weight,
            "seed": self.seed,
        }

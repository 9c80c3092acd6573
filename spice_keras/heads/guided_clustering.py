"""Neighbour consistency with a teacher: heads that also learn a soft label of each sample."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from spice_keras.algorithm.semantic_centers import image_semantic_consistency
from spice_keras.heads.neighbor_clustering import NeighborClustering


@keras.saving.register_keras_serializable(package="spice_keras")
class GuidedClustering(NeighborClustering):
    """Neighbours agree, and each sample agrees with the label that it is given.

    Trains on batches ``{"anchor", "neighbor", "label"}``: float32 features ``[B, D]`` twice, and a
    distribution over the clusters for each anchor ``[B, K]``, such as the probabilities of the K
    words that cover the images. The loss of a head is that of ``NeighborClustering`` plus
    ``label_weight * mean CE(label, p)``. ``compile`` takes an optimizer only. ``predict`` gives
    logits ``[N, H, K]``.

    Args:
        num_clusters: Number of clusters K, >= 2.
        feature_dim: Width of the features D.
        label_weight: Weight of the cross-entropy with the labels, >= 0.
        **kwargs: Those of ``NeighborClustering``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Loss of each head in the last step, float32 ``[H]``.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras.heads.guided_clustering import GuidedClustering
        >>> features = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
        >>> labels = np.eye(3, dtype="float32")[np.arange(60) % 3]
        >>> batch = {"anchor": features, "neighbor": features, "label": labels}
        >>> model = GuidedClustering(3, 8, num_heads=2)
        >>> model.compile(keras.optimizers.Adam(0.001))
        >>> sorted(model.train_on_batch(batch, return_dict=True))
        ['agreement', 'cluster_entropy', 'consistency', 'loss']

    SCAN (arXiv 2005.12320) Eq. 2; the cross-entropy of SIC (arXiv 2208.09849) Eq. 10.
    """

    _reported = ("loss", "consistency", "agreement", "cluster_entropy")

    def __init__(
        self, num_clusters: int, feature_dim: int, *, label_weight: float = 1.0, **kwargs: Any
    ) -> None:
        if not label_weight >= 0:
            raise ValueError(
                f"`label_weight` must be at least 0. Received: label_weight={label_weight}"
            )
        super().__init__(num_clusters, feature_dim, **kwargs)
        self.label_weight = label_weight

    @property
    def batch_parts(self) -> dict[str, str]:
        """Features of samples and of a neighbour of each, and the samples' labels."""
        return super().batch_parts | {"label": f"float [B, {self.num_clusters}]"}

    @property
    def views_function(self) -> str:
        """What makes such batches."""
        return "spice_keras.data.neighbor_batches.neighbor_batches"

    def _loss_by_head(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        anchors, neighbors = self._scores_of(batch)
        losses, terms = self._neighbor_loss(anchors, neighbors)
        agreement = tf.reduce_mean(image_semantic_consistency(anchors, batch["label"]), axis=1)
        return losses + self.label_weight * agreement, terms | {"agreement": agreement}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"label_weight": self.label_weight}

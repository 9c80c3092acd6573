"""SIC: heads trained to agree with neighbours and with the words nearest to each cluster."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.feature_space import SpaceLike
from spice_keras.algorithm.semantic_centers import image_semantic_consistency, semantic_labels
from spice_keras.heads.neighbor_clustering import NeighborClustering
from spice_keras.heads.selection import head_logits
from spice_keras.heads.semantic_space import SemanticSpace


@keras.saving.register_keras_serializable(package="spice_keras")
class SemanticClustering(NeighborClustering):
    """The third self-labelling objective, SIC: neighbours agree, and so do images and words.

    Trains on batches ``{"anchor", "neighbor"}`` of float32 features ``[B, D]`` in the space of an
    image-text model, as ``NeighborClustering`` does. The loss of a head is
    ``-mean ln <p, q> - entropy_weight * H(mean p) + label_weight * mean CE(p, label)``. The label
    of an anchor is the semantic centre most similar to it. ``MakeSemanticCenters`` makes the
    centres at the start of each epoch: give it to ``fit`` as a callback. ``compile`` takes an
    optimizer only. ``predict`` gives logits ``[N, H, K]``.

    The defaults are those of the released code.

    Args:
        num_clusters: Number of clusters K, >= 2.
        feature_dim: Width of the features D.
        num_heads: Number of independent heads H.
        hidden_dim: Width of the heads' hidden layer; None for linear heads.
        input_scale: See ``MultiHeadClassifier``. It scales what the heads read; labels do not
            depend on it.
        entropy_weight: lambda, weight of the entropy of the mean prediction, >= 0, or one for each
            head.
        label_weight: beta, weight of the cross-entropy with the labels, >= 0.
        temperature: Above 0: labels are the softmax of the cosines to the centres divided by it.
            None: the most similar centre alone.
        weight_decay: L2 penalty inside the gradient, >= 0.
        seed: Seed of the heads' initial weights.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Loss of each head in the last step, float32 ``[H]``.
        semantic_centers: Unit directions, float32 ``[H, K, D]``; zeros before they are made.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras.heads.semantic_clustering import (
        ...     MakeSemanticCenters, SemanticClustering)
        >>> from spice_keras.heads.semantic_space import fitted_semantic_space
        >>> from spice_keras.views import neighbor_views
        >>> generator = np.random.default_rng(0)
        >>> images = generator.normal(size=(60, 8)).astype("float32")
        >>> words = generator.normal(size=(20, 8)).astype("float32")
        >>> space = fitted_semantic_space(images, words, np.arange(60) % 3)
        >>> model = SemanticClustering(3, 8)
        >>> model.compile(keras.optimizers.Adam(0.001))
        >>> history = model.fit(neighbor_views(images, batch_size=30), epochs=2, verbose=0,
        ...                     callbacks=[MakeSemanticCenters(images, space)])
        >>> model.predict(images, verbose=0).shape
        (60, 1, 3)

    SIC (arXiv 2208.09849) Eq. 11.
    """

    _reported = ("loss", "consistency", "semantic_consistency", "cluster_entropy")

    def __init__(
        self,
        num_clusters: int,
        feature_dim: int,
        *,
        num_heads: int = 1,
        hidden_dim: int | None = None,
        input_scale: SpaceLike = "none",
        entropy_weight: Any = 5.0,
        label_weight: float = 0.1,
        temperature: float | None = None,
        weight_decay: float = 1e-4,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not (label_weight >= 0 and weight_decay >= 0):
            raise ValueError(
                "`label_weight` and `weight_decay` must be at least 0. "
                f"Received: label_weight={label_weight}, weight_decay={weight_decay}"
            )
        if temperature is not None and not temperature > 0:
            raise ValueError(
                f"`temperature` must be above 0, or None. Received: temperature={temperature}"
            )
        super().__init__(
            num_clusters,
            feature_dim,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            input_scale=input_scale,
            entropy_weight=entropy_weight,
            seed=seed,
            **kwargs,
        )
        self.label_weight = label_weight
        self.temperature = temperature
        self.weight_decay = weight_decay
        self.semantic_centers = self.add_weight(
            name="semantic_centers", shape=(num_heads, num_clusters, feature_dim),
            dtype="float32", trainable=False, initializer="zeros", autocast=False,
        )  # fmt: skip

    def make_train_function(self, force: bool = False) -> Any:
        """Refuses to train before there are semantic centres."""
        if not np.any(self.semantic_centers):
            raise ValueError(
                "SemanticClustering trains on labels from semantic centres, and has none yet: "
                "give `fit` the callback MakeSemanticCenters. Received: semantic_centers of zeros"
            )
        return super().make_train_function(force)

    def _loss_by_head(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Loss of each head and its terms, ``[H]``."""
        anchors, neighbors = self._scores_of(batch)
        losses, terms = self._neighbor_loss(anchors, neighbors)
        centers = tf.convert_to_tensor(self.semantic_centers)
        labels = semantic_labels(batch["anchor"], centers, self.temperature)
        semantic = tf.reduce_mean(image_semantic_consistency(anchors, labels), axis=1)
        return losses + self.label_weight * semantic, terms | {"semantic_consistency": semantic}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "label_weight": self.label_weight,
            "temperature": self.temperature,
            "weight_decay": self.weight_decay,
        }


class MakeSemanticCenters(keras.callbacks.Callback):
    """Makes a model's semantic centres at the start of every epoch, from its heads of that moment.

    The centres are a function of the weights alone, so training that goes on from saved weights
    ends the same.

    Args:
        features: What the heads read, for all images, float32 [N, D].
        space: The images and words in their common space.

    Attributes:
        space: That space; its ``words_of`` tells which words a head's clusters are about.

    SIC (arXiv 2208.09849), adjusted centre-based mapping.
    """

    def __init__(self, features: np.ndarray, space: SemanticSpace) -> None:
        super().__init__()
        self._features, self.space = features, space

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, and makes its first centres."""
        super().set_model(model)
        self._make()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Makes the centres anew."""
        self._make()

    def _make(self) -> None:
        logits = head_logits(self.model, self._features)
        self.model.semantic_centers.assign(self.space.centers(logits))

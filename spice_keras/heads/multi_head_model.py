"""What the two self-labelling models share: clustering heads on features, called in one way."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.models.partly_trained import PartlyTrainedModel


class MultiHeadModel(PartlyTrainedModel):
    """A model of H clustering heads, trained side by side.

    Called, it gives one row for each sample, ``[B, H, K]``, as Keras expects of ``predict``. What
    trains and judges heads reads them head by head, ``[H, B, K]``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Mean loss of each head over the last training step, float32 ``[H]``.
    """

    classifier: MultiHeadClassifier
    head_losses: keras.Variable
    feature_dim: int

    def _add_heads(self, feature_dim: int, num_heads: int, num_clusters: int, **form: Any) -> None:
        """Makes the heads for features ``[B, D]``, and the place of their losses."""
        self.classifier = MultiHeadClassifier(num_heads, num_clusters, name="classifier", **form)
        self.classifier.build((None, feature_dim))
        self.head_losses = self.add_weight(
            name="head_losses", shape=(num_heads,), dtype="float32", trainable=False,
            initializer="zeros", autocast=False, aggregation="mean",
        )  # fmt: skip

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Logits of every head.

        Args:
            inputs: Features ``[B, D]``, or images for a model that owns an encoder.

        Returns:
            float32 ``[B, H, K]``.

        Raises:
            ValueError: If the inputs have another shape.
        """
        return tf.transpose(self.logits_by_head(self._features_of(inputs)), [1, 0, 2])

    def logits_by_head(self, features: tf.Tensor) -> tf.Tensor:
        """Logits head by head.

        Args:
            features: ``[B, D]`` shared by all heads, or ``[H, B, D]``, one batch for each head.

        Returns:
            float32 ``[H, B, K]``.
        """
        return self.classifier(features)

    def input_spec_of_call(self) -> keras.InputSpec:
        """Features ``[B, D]``."""
        return keras.InputSpec(dtype="float32", shape=(None, self.feature_dim), name="features")

    def _features_of(self, inputs: tf.Tensor) -> tf.Tensor:
        if inputs.shape.rank != 2 or inputs.shape[1] != self.feature_dim:
            raise ValueError(
                f"{type(self).__name__} takes features [B, {self.feature_dim}]. "
                f"Received: inputs of shape {inputs.shape}"
            )
        return inputs

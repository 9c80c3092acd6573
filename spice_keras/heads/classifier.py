"""Heads: the clustering heads of SPICE-Self, the projection of MoCo and their linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.feature_space import SHORTEST, FeatureSpace, SpaceLike, feature_space
from spice_keras.models.layers import linear, linear_initializer


@keras.saving.register_keras_serializable(package="spice_keras")
class FeatureScale(keras.layers.Layer):
    """Features of any encoder on one scale: unit rows of a feature space times sqrt(D).

    Values are then about 1, so the learning rates of the heads are those of any feature width and
    any encoder.

    Args:
        space: The feature space: its name, itself, or its plain values.
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If there is no such space.
    """

    def __init__(self, space: SpaceLike = "unit", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.space = feature_space(space)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Scales features ``[..., D]``."""
        return scaled_features(features, self.space)

    def compute_output_spec(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Shape of the features, float32."""
        return keras.KerasTensor(features.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the centre is among them."""
        return super().get_config() | {"space": self.space.as_config()}


def scaled_features(features: tf.Tensor, space: FeatureSpace) -> tf.Tensor:
    """Unit rows of a feature space times sqrt(D); the features themselves for ``"none"``.

    Args:
        features: ``[..., D]``.
        space: The space.

    Returns:
        float32 ``[..., D]``, rows of mean square 1; a row that is the centre, or zero if there is
        no centre, becomes zero.
    """
    features = tf.cast(features, tf.float32)
    if space.scale == "none":
        return features
    if space.scale == "root-center":
        features = tf.sign(features) * tf.sqrt(tf.abs(features))
    features = tf.math.l2_normalize(features, axis=-1, epsilon=1e-30)
    if space.center is not None:
        centered = features - tf.constant(space.center, tf.float32)
        features = tf.math.l2_normalize(centered, axis=-1, epsilon=SHORTEST**2)
    return features * features.shape[-1] ** 0.5


@keras.saving.register_keras_serializable(package="spice_keras")
class MultiHeadClassifier(keras.layers.Layer):
    """Clustering heads: H independent classifiers, evaluated as one batched product.

    Each head is ``D x hidden`` - ReLU - ``hidden x K`` as in the paper, or a single linear layer
    ``D x K``, initialised like PyTorch's linear layer, U(+-1/sqrt(fan in)), weights and biases
    alike.

    Args:
        num_heads: Number of heads H, >= 1.
        num_clusters: Number of clusters K, >= 2.
        hidden_dim: Width of the hidden layer; the input's width if None, as in the paper.
        seed: Seed of the initial weights.
        linear: Whether the heads have no hidden layer.
        input_scale: ``"none"`` takes features as they come, ``"unit"`` L2-normalises them and
            multiplies by sqrt(D) first; a ``FeatureSpace`` with a centre may stand here too. A head
            taken out by ``head_model`` does the same.
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If a number is below its minimum, the scale is unknown, or linear heads are
            given a hidden width.

    SPICE (arXiv 2103.09382) Sec. 3.2 and Fig. 2.
    """

    def __init__(
        self,
        num_heads: int,
        num_clusters: int,
        hidden_dim: int | None = None,
        seed: int = 0,
        linear: bool = False,
        input_scale: SpaceLike = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_heads < 1 or num_clusters < 2 or (hidden_dim is not None and hidden_dim < 1):
            raise ValueError(
                "A classifier needs num_heads >= 1, num_clusters >= 2 and hidden_dim >= 1 (or "
                f"None). Received: num_heads={num_heads}, num_clusters={num_clusters}, "
                f"hidden_dim={hidden_dim}"
            )
        if linear and hidden_dim is not None:
            raise ValueError(
                "Linear heads have no hidden layer: leave `hidden_dim` None. "
                f"Received: linear={linear}, hidden_dim={hidden_dim}"
            )
        self.num_heads = num_heads
        self.num_clusters = num_clusters
        self.hidden_dim = hidden_dim
        self.seed = seed
        self.linear = linear
        self.space = feature_space(input_scale)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for features ``[..., D]``."""
        dim = input_shape[-1]
        if dim is None:
            raise ValueError(
                "MultiHeadClassifier expects features [M, D] or [H, B, D] with a known D. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        heads, clusters, hidden = self.num_heads, self.num_clusters, dim
        if not self.linear:
            hidden = dim if self.hidden_dim is None else self.hidden_dim
            self.hidden_kernel = self._head_weight("hidden_kernel", (heads, dim, hidden), dim)
            self.hidden_bias = self._head_weight("hidden_bias", (heads, hidden), dim)
        self.output_kernel = self._head_weight("output_kernel", (heads, hidden, clusters), hidden)
        self.output_bias = self._head_weight("output_bias", (heads, clusters), hidden)

    def _head_weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> keras.Variable:
        # The output layer stays in float32: heads are told apart by the fourth decimal of a loss.
        autocast = name.startswith("hidden")
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=linear_initializer(fan_in, self.seed, name),
            autocast=autocast,
        )

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Logits of every head.

        Args:
            features: ``[M, D]`` shared by all heads, or ``[H, B, D]`` one batch for each head.

        Returns:
            float32 logits ``[H, M, K]`` or ``[H, B, K]``.
        """
        if self.space.scale != "none":
            features = tf.cast(scaled_features(features, self.space), features.dtype)
        if not self.linear:
            hidden = _head_products(features, tf.convert_to_tensor(self.hidden_kernel))
            features = tf.nn.relu(hidden + tf.convert_to_tensor(self.hidden_bias)[:, tf.newaxis])
        logits = _head_products(
            tf.cast(features, tf.float32), tf.convert_to_tensor(self.output_kernel)
        )
        return logits + tf.convert_to_tensor(self.output_bias)[:, tf.newaxis]

    def compute_output_spec(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Shape ``[H, batch, K]``, always float32."""
        shape = (self.num_heads, features.shape[-2], self.num_clusters)
        return keras.KerasTensor(shape, dtype="float32")

    def head_model(self, head: int) -> keras.Model:
        """One head as a model of its own, with a copy of the weights.

        Args:
            head: Index of the head, in [0, H).

        Returns:
            A functional model: features ``[B, D]`` to float32 logits ``[B, K]``.

        Raises:
            ValueError: If the layer has no weights yet or the index is out of range.
        """
        if not self.built or not 0 <= head < self.num_heads:
            raise ValueError(
                f"`head` must lie in [0, {self.num_heads}) and the classifier must be built. "
                f"Received: head={head}, built={self.built}"
            )
        dim = self.weights[0].shape[1]
        inputs = keras.Input((dim,), name="features")
        x = inputs
        if self.space.scale != "none":
            x = FeatureScale(self.space, name="feature_scale")(inputs)
        if not self.linear:
            x = linear(dim, self.hidden_bias.shape[1], name="hidden", activation="relu")(x)
        output = linear(x.shape[-1], self.num_clusters, name="output", dtype="float32")
        model = keras.Model(inputs, output(x), name="clustering_head")
        model.set_weights([keras.ops.convert_to_numpy(weight)[head] for weight in self.weights])
        return model

    @classmethod
    def from_weights(
        cls, weights: Sequence[np.ndarray], *, input_scale: SpaceLike = "none"
    ) -> MultiHeadClassifier:
        """Rebuild heads from their weights alone.

        Args:
            weights: Kernel and bias of each layer, ``[H, D, hidden]`` first; two arrays for
                linear heads, four for those with a hidden layer.
            input_scale: What the heads do to their input.

        Returns:
            The heads, built.
        """
        heads, dim, width = weights[0].shape
        linear_heads = len(weights) == 2
        clusters = weights[-1].shape[1]
        hidden = None if linear_heads else width
        classifier = cls(heads, clusters, hidden, linear=linear_heads, input_scale=input_scale)
        classifier.build((None, dim))
        classifier.set_weights(weights)
        return classifier

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "num_heads": self.num_heads,
            "num_clusters": self.num_clusters,
            "hidden_dim": self.hidden_dim,
            "seed": self.seed,
            "linear": self.linear,
            "input_scale": self.space.as_config(),
        }


def _head_products(features: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """Features ``[M, D]`` or ``[H, B, D]`` times kernels ``[H, D, P]``: ``[H, M|B, P]``."""
    if features.shape.rank == 2:
        # One wide product: nearly twice as fast on a CPU as a broadcast batch of narrow ones.
        return tf.einsum("md,hdp->hmp", features, kernels)
    return tf.matmul(features, kernels)

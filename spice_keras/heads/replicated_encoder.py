"""A frozen encoder on several replicas: each encodes its share of a large batch."""

from __future__ import annotations

import keras
import tensorflow as tf

from spice_keras.heads.spice_self import frozen_features
from spice_keras.models.replicas import gathered
from spice_keras.training.loop import shares


class ReplicatedEncoder:
    """Encodes large batches on all replicas of the strategy in whose scope it is made.

    SPICE-Self takes the most confident images of a whole batch, so what the replicas have encoded
    is gathered before its heads see it. The heads then train on one device, as without a strategy.

    Args:
        encoder: uint8 images to pooled features ``[B, D]``, frozen, built in the same scope.
        chunk: Images of one forward pass, >= 1.

    Example:
        >>> import numpy as np
        >>> from spice_keras import build_backbone
        >>> encode = ReplicatedEncoder(build_backbone("small_resnet", image_size=16, width=4), 64)
        >>> images = np.zeros((6, 16, 16, 3), np.uint8)
        >>> encode({"weak": images})["weak"].shape
        TensorShape([6, 16])
    """

    def __init__(self, encoder: keras.Model, chunk: int) -> None:
        self._strategy = tf.distribute.get_strategy()

        @tf.function
        def encode(views: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {
                name: gathered(frozen_features(encoder, images, chunk))
                for name, images in views.items()
            }

        self._encode = encode

    def __call__(self, views: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Encode views.

        Args:
            views: uint8 ``[M, S, S, 3]`` by name; M a multiple of the number of replicas.

        Returns:
            float32 ``[M, D]`` by name: the features of the whole batch, in its order.
        """
        strategy = self._strategy
        found = strategy.run(self._encode, args=(shares(views, strategy),))
        return {
            name: strategy.experimental_local_results(features)[0]
            for name, features in found.items()
        }

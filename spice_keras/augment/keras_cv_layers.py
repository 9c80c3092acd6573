"""The strong policy's operations and Cutout as KerasCV layers, for pipelines made of those.

The layers draw from a `tf.random.Generator` as all KerasCV layers do; training uses the
policies, whose batches are pure functions of a seed.
"""

from __future__ import annotations

from typing import Any

import keras
import keras_cv
import tensorflow as tf

from spice_keras.augment.cutout import Hole, cutout, sample_cutout
from spice_keras.augment.draws import uniform
from spice_keras.augment.pixels import batch_sizes, to_pixels
from spice_keras.augment.strong import (
    KINDS,
    OPERATIONS,
    Operations,
    apply_operation,
    apply_operations,
    sample_operations,
)


class _PixelLayer(keras_cv.layers.VectorizedBaseImageAugmentationLayer):
    """A layer that works on whole grey levels and leaves labels as they are."""

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.seed = seed
        if seed is not None:
            # The base class takes seed 0 for "no seed".
            self._random_generator = tf.random.Generator.from_seed(seed)

    def draw_seed(self) -> tf.Tensor:
        """Returns a fresh seed for stateless draws: int64 [2]."""
        return self._random_generator.make_seeds(1)[:, 0]

    def change_pixels(self, images: tf.Tensor, transformations: Any) -> tf.Tensor:
        """Applies the draws to uint8 [B, H, W, 3]."""
        raise NotImplementedError

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        """Applies the draws to images of the compute dtype with values in 0..255."""
        del kwargs
        return tf.cast(self.change_pixels(to_pixels(images), transformations), images.dtype)

    def augment_labels(self, labels: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        """Returns the labels."""
        del transformations, kwargs
        return labels

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="spice_keras")
class StrongOperation(_PixelLayer):
    """One of the fourteen operations, on every image with a value of its own.

    Args:
        operation: A key of `spice_keras.augment.strong.OPERATIONS`.
        low: Lowest value; the paper's if None.
        high: Highest value; the paper's if None.
        seed: Seed of the layer's generator; None draws from TensorFlow's global one.
        **kwargs: Keras' layer arguments.

    Raises:
        ValueError: If `operation` is unknown.
    """

    def __init__(
        self,
        operation: str,
        low: float | None = None,
        high: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if operation not in OPERATIONS:
            raise ValueError(
                f"`operation` must be one of {', '.join(OPERATIONS)}. "
                f"Received: operation={operation!r}"
            )
        self.operation = operation
        paper_low, paper_high = OPERATIONS[operation]
        self.low = paper_low if low is None else low
        self.high = paper_high if high is None else high

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        """Draws one value for each image: float32 [B]."""
        del kwargs
        return uniform(self.draw_seed(), batch_size, self.low, self.high)

    def change_pixels(self, images: tf.Tensor, transformations: tf.Tensor) -> tf.Tensor:
        """Applies the operation with each image's value."""
        kinds = tf.fill(tf.shape(images)[:1], KINDS[self.operation])
        return apply_operation(images, kinds, transformations)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        own = {"operation": self.operation, "low": self.low, "high": self.high}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="spice_keras")
class StrongOperations(_PixelLayer):
    """Several of the fourteen operations on each image, drawn with replacement.

    Args:
        num_ops: How many operations each image gets.
        seed: Seed of the layer's generator; None draws from TensorFlow's global one.
        **kwargs: Keras' layer arguments.
    """

    def __init__(self, num_ops: int = 4, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.num_ops = num_ops

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> Operations:
        """Draws the operations and values of each image."""
        del kwargs
        return sample_operations(self.draw_seed(), batch_size, self.num_ops)

    def change_pixels(self, images: tf.Tensor, transformations: Operations) -> tf.Tensor:
        """Applies each image's operations one after the other."""
        return apply_operations(images, transformations)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "num_ops": self.num_ops}


@keras.saving.register_keras_serializable(package="spice_keras")
class SquareCutout(_PixelLayer):
    """Cutout as the paper uses it: a square of random side and place in the mean colour.

    Args:
        max_share: Largest side of the hole, as a share of the image's shorter side.
        seed: Seed of the layer's generator; None draws from TensorFlow's global one.
        **kwargs: Keras' layer arguments.
    """

    def __init__(self, max_share: float = 0.5, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.max_share = max_share

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor, **kwargs: Any
    ) -> Hole:
        """Draws the hole of each image."""
        del kwargs
        _, height, width = batch_sizes(images)
        max_side = max(1, int(self.max_share * min(height, width)))
        return sample_cutout(self.draw_seed(), batch_size, height, width, max_side=max_side)

    def change_pixels(self, images: tf.Tensor, transformations: Hole) -> tf.Tensor:
        """Fills each image's hole."""
        return cutout(images, transformations)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "max_share": self.max_share}

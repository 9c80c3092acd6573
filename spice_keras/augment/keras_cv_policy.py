"""KerasCV's RandAugment and RandomCutout, made a pure function of a seed.

KerasCV's layers draw in two ways: from a `tf.random.Generator` held as `_random_generator`, and
from factor samplers that call TensorFlow's global random operations. Neither can be repeated
under a parallel map. Both are replaced here, on layers built for this policy alone, by draws
from the seed of the image at hand; what the layers do with their draws stays KerasCV's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import keras_cv
import tensorflow as tf

from spice_keras.augment.pixels import to_pixels

_RANDOM_SAMPLERS = (keras_cv.core.UniformFactorSampler, keras_cv.core.NormalFactorSampler)


class SeededDraws:
    """Random numbers that follow from the current seed and the order in which they are asked.

    Offers the one method of `tf.random.Generator` that KerasCV's layers call.
    """

    def __init__(self) -> None:
        self._seed: tf.Tensor = None
        self._asked = 0

    def start(self, seed: tf.Tensor) -> None:
        """Makes `seed` (int32 [2]) the source of everything drawn from now on."""
        self._seed, self._asked = seed, 0

    def next_seed(self) -> tf.Tensor:
        """Returns a seed that was not used before: int32 [2]."""
        self._asked += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._asked)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32
    ) -> tf.Tensor:
        """Draws as `tf.random.Generator.uniform` does."""
        return tf.random.stateless_uniform(shape, self.next_seed(), minval, maxval, dtype)


class SeededFactor(keras_cv.core.FactorSampler):
    """A KerasCV factor sampler that draws from `SeededDraws`.

    Args:
        sampler: The uniform or normal sampler whose distribution is kept.
        draws: Where the numbers come from.
    """

    def __init__(self, sampler: keras_cv.core.FactorSampler, draws: SeededDraws) -> None:
        self.sampler = sampler
        self.draws = draws

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Draws factors of the given shape from the sampler's distribution."""
        sampler, dtype = self.sampler, tf.as_dtype(dtype)
        if isinstance(sampler, keras_cv.core.UniformFactorSampler):
            return self.draws.uniform(shape, sampler.lower, sampler.upper, dtype)
        seed = self.draws.next_seed()
        drawn = tf.random.stateless_normal(shape, seed, sampler.mean, sampler.stddev, dtype)
        return tf.clip_by_value(drawn, sampler.min_value, sampler.max_value)


def seeded_rand_augment(
    *, num_ops: int, magnitude: float, cutout: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Builds the policy of KerasCV's RandAugment followed by its RandomCutout.

    Args:
        num_ops: RandAugment's `augmentations_per_image`.
        magnitude: RandAugment's `magnitude`, in [0, 1].
        cutout: Largest height and width of the hole, as a share of the side; 0 leaves it out.

    Returns:
        uint8 images [B, H, W, 3] and an int32 seed [2] to uint8 images [B, H, W, 3].
    """
    draws = SeededDraws()
    with _float32_layers():
        layers = [
            keras_cv.layers.RandAugment(
                value_range=(0, 255), augmentations_per_image=num_ops, magnitude=magnitude, seed=1
            )
        ]
        if cutout > 0.0:
            layers.append(keras_cv.layers.RandomCutout(cutout, cutout, seed=1))
    for layer in layers:
        _draw_from(layer, draws)

    def augment(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, seed = inputs
        draws.start(seed)
        for layer in layers:
            image = layer(image)
        return image

    # Always traced: a draw's number is its place in the traced code, and running the branches
    # of a switch eagerly would count the taken one only.
    @tf.function
    def traced(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds = tf.random.experimental.stateless_split(seed, tf.shape(images)[0])
        output = tf.TensorSpec(images.shape[1:], tf.float32)
        pixels = tf.cast(images, tf.float32)
        views = tf.map_fn(augment, (pixels, seeds), fn_output_signature=output)
        return to_pixels(views)

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        # Out here: a trace made for batches of several sizes forgets the size of this one.
        return tf.ensure_shape(traced(images, seed), images.shape)

    return policy


@contextmanager
def _float32_layers() -> Iterator[None]:
    """Builds layers in float32 whatever the network's precision: pixels have 256 levels."""
    outside = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outside)


def _draw_from(layer: keras.layers.Layer, draws: SeededDraws) -> None:
    """Replaces the randomness of a KerasCV layer and of the layers inside it."""
    layer._random_generator = draws
    for name, value in list(vars(layer).items()):
        if isinstance(
            value, keras_cv.core.UniformFactorSampler | keras_cv.core.NormalFactorSampler
        ):
            setattr(layer, name, SeededFactor(value, draws))
    inner = list(getattr(layer, "layers", []))
    choice = getattr(layer, "_random_choice", None)
    for part in inner + ([choice] if choice is not None else []):
        _draw_from(part, draws)

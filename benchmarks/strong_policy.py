"""The strong policy against KerasCV's RandAugment and RandomCutout."""

from __future__ import annotations

from typing import Any

from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work

_OURS, _KERAS_CV = "spice_keras, policy `spice`", "KerasCV, RandAugment and RandomCutout"
_COUNTS = {32: (2048, 256), 96: (1024, 128)}  # side: images of a turn, of a batch
_TARGETS = {32: 3.0, 96: 1.5}


def whole_pass(batches: Any) -> Work:
    """Read a data set from its beginning to its end, with a new iterator each time."""

    def turn() -> None:
        for _ in batches:
            pass

    return turn


def ours(side: int) -> Work:
    """The data set that a stage trains on, with this view alone."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.augment.policies import spice
    from spice_keras.data.batches import training_batches

    count, batch = _COUNTS[side]
    pixels = images(count, side)
    return whole_pass(
        training_batches(pixels, views={"strong": spice()}, batch_size=batch, seed=0, epochs=1)
    )


def keras_cv_side(side: int) -> Work:
    """Image by image before batching, which is its fastest way."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision="float32", deterministic=False)
    import keras_cv
    import tensorflow as tf

    strong = keras_cv.layers.RandAugment((0, 255), augmentations_per_image=4, magnitude=0.5)
    cutout = keras_cv.layers.RandomCutout(0.5, 0.5)
    count, batch = _COUNTS[side]
    return whole_pass(
        tf.data.Dataset.from_tensor_slices(images(count, side))
        .shuffle(count)
        .map(lambda image: cutout(strong(tf.cast(image, tf.float32))), tf.data.AUTOTUNE)
        .batch(batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def comparison(side: int) -> Comparison:
    count, batch = _COUNTS[side]
    return Comparison(
        name=f"strong_policy_{side}",
        title=f"Strong policy, {side} px",
        turn=f"{count} images in batches of {batch} through tf.data, shuffled",
        contenders=[
            Contender(_OURS, ours, {"side": side}),
            Contender(_KERAS_CV, keras_cv_side, {"side": side}),
        ],
        targets=[Target(_OURS, _KERAS_CV, _TARGETS[side])],
        items=count,
        rounds=11,
        notes=[
            "Four operations and a hole on each image on either side. Ours draws each batch from "
            "(seed, epoch, step); KerasCV's draws cannot be repeated."
        ],
    )

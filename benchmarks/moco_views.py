"""Two views of MoCo v2 against the same of KerasCV's layers."""

from __future__ import annotations

from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.strong_policy import whole_pass
from benchmarks.workers import Contender, Work

COUNT, BATCH, SIDE = 2048, 256, 32
_OURS, _KERAS_CV = "spice_keras, policy `moco`", "KerasCV's layers, by batches"


def ours() -> Work:
    """The data set that pretraining reads."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.augment.policies import moco
    from spice_keras.data.batches import training_batches

    views = {"query": moco(), "key": moco()}
    pixels = images(COUNT, SIDE)
    return whole_pass(training_batches(pixels, views=views, batch_size=BATCH, seed=0, epochs=1))


def keras_cv_side() -> Work:
    """Crop, mirror, jitter, grey, blur; by batches, as RandomApply is not built for single images.

    The kernel of the blur is a tenth of the side, as SimCLR's.
    """
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision="float32", deterministic=False)
    import tensorflow as tf
    from keras_cv import layers

    jitter = layers.RandomColorJitter((0, 255), 0.4, 0.4, (0.3, 0.7), 0.1)
    steps = [
        layers.RandomCropAndResize((SIDE, SIDE), (0.2, 1.0), (3 / 4, 4 / 3)),
        layers.RandomFlip("horizontal"),
        layers.RandomApply(jitter, rate=0.8),
        layers.RandomApply(layers.Grayscale(output_channels=3), rate=0.2),
        layers.RandomApply(layers.RandomGaussianBlur(3, (0.1, 2.0)), rate=0.5),
    ]

    def view(pixels: tf.Tensor) -> tf.Tensor:
        for step in steps:
            pixels = step(pixels)
        return pixels

    def views(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(pixels, tf.float32)
        return view(pixels), view(pixels)

    return whole_pass(
        tf.data.Dataset.from_tensor_slices(images(COUNT, SIDE))
        .shuffle(COUNT)
        .batch(BATCH, drop_remainder=True)
        .map(views, tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def comparison() -> Comparison:
    return Comparison(
        name="moco_views",
        title="Two MoCo views, 32 px",
        turn=f"two views of {COUNT} images in batches of {BATCH} through tf.data, shuffled",
        contenders=[Contender(_OURS, ours), Contender(_KERAS_CV, keras_cv_side)],
        targets=[Target(_OURS, _KERAS_CV, 3.0)],
        items=COUNT,
        unit="pairs",
        rounds=11,
    )

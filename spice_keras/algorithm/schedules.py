"""Learning-rate schedules of MoCo and of FixMatch."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="spice_keras")
class MoCoCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from the learning rate to 0, constant within an epoch.

    Epoch e of E, counted from 0, trains at learning_rate * (1 + cos(pi * e / E)) / 2; from
    epoch E on the rate is 0.

    Args:
        learning_rate: Rate of the first epoch, not negative.
        epochs: E, at least 1.
        steps_per_epoch: Optimizer steps of an epoch, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    MoCo v2 (arXiv 2003.04297) Sec. 3; the released code steps it per epoch.
    """

    def __init__(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        _check_rate(learning_rate)
        if epochs < 1 or steps_per_epoch < 1:
            raise ValueError(
                "`epochs` and `steps_per_epoch` must be at least 1. "
                f"Received: {epochs=}, {steps_per_epoch=}"
            )
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Learning rate (float32 scalar) of the optimizer step, counted from 0."""
        # Whole numbers: a float32 quotient could reach the next epoch a step early.
        epoch = tf.cast(tf.convert_to_tensor(step), tf.int64) // self.steps_per_epoch
        progress = tf.cast(tf.minimum(epoch, self.epochs), tf.float32) / self.epochs
        return self.learning_rate * 0.5 * (1.0 + tf.cos(math.pi * progress))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments by name."""
        return {
            "learning_rate": self.learning_rate,
            "epochs": self.epochs,
            "steps_per_epoch": self.steps_per_epoch,
        }


@keras.saving.register_keras_serializable(package="spice_keras")
class FixMatchCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Seven sixteenths of a half-turn of the cosine, step by step.

    Step k of K trains at learning_rate * cos(7 pi k / (16 K)); at step K, and from there on, the
    rate is about 0.195 of the first, not 0.

    Args:
        learning_rate: Rate of the first step, not negative.
        total_steps: K, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    FixMatch (arXiv 2001.07685) Sec. 2.3.
    """

    def __init__(self, learning_rate: float, total_steps: int) -> None:
        super().__init__()
        _check_rate(learning_rate)
        if total_steps < 1:
            raise ValueError(f"`total_steps` must be at least 1. Received: {total_steps=}")
        self.learning_rate = learning_rate
        self.total_steps = total_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Learning rate (float32 scalar) of the optimizer step, counted from 0."""
        step = tf.minimum(tf.cast(tf.convert_to_tensor(step), tf.int64), self.total_steps)
        progress = tf.cast(step, tf.float32) / self.total_steps
        return self.learning_rate * tf.cos(7.0 * math.pi / 16.0 * progress)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments by name."""
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps}


def _check_rate(learning_rate: float) -> None:
    if learning_rate < 0:
        raise ValueError(f"`learning_rate` must not be negative. Received: {learning_rate=}")

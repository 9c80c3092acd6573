"""SGD and Adam on TensorFlow's fused kernels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="spice_keras")
class FusedSGD(keras.optimizers.SGD):
    """Keras's SGD with momentum in one pass over each variable; the same update up to rounding."""

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move one variable and its velocity.

        Args:
            gradient: Gradient of the loss. Shape: that of the variable.
            variable: A float32 variable of TensorFlow, as `apply` passes it on.
            learning_rate: Learning rate of this step.
        """
        if self.momentum == 0.0:  # no velocity: Keras's update is one operation as it is
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, tf.float32),
            grad=tf.cast(gradient, tf.float32),
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable(package="spice_keras")
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam in one pass over each variable; the same update up to rounding.

    Small heads spend more time between Keras's dozen operations than in them.
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move one variable and its two moments.

        Args:
            gradient: Gradient of the loss. Shape: that of the variable.
            variable: A float32 variable of TensorFlow, as `apply` passes it on.
            learning_rate: Learning rate of this step.
        """
        place = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )

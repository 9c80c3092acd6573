"""Batch normalisation on a fused kernel, and the normalisation of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from spice_keras.options import IMAGENET_MEAN, IMAGENET_STD


@keras.saving.register_keras_serializable(package="spice_keras")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation on TensorFlow's fused kernel, optionally over sub-batches (split-BN).

    Equal to ``keras.layers.BatchNormalization`` up to rounding, in the forward pass, the gradients
    and the moving statistics (biased variance). Scale, offset and statistics are float32 whatever
    the compute dtype. As in Keras, a layer with ``trainable=False`` runs in inference mode.

    With ``groups > 1`` a training batch is cut into contiguous groups that are normalised each with
    its own statistics. MoCo needs this on one device: without it the query could recognise its
    positive key by the statistics the two batches share (MoCo, arXiv 1911.05722, Sec. 3.3).

    Under a ``tf.distribute`` strategy each replica normalises its share of the batch on its own,
    and the moving statistics are the mean over replicas: R replicas are R times as many groups.
    With ``synchronized`` they share their statistics: R replicas are one device, up to rounding.

    Args:
        momentum: Share of the old moving statistics kept at each step, in [0, 1]; 0.9 is what
            PyTorch calls 0.1.
        epsilon: Added to the variance, > 0.
        groups: Number of sub-batches of a training batch, >= 1; must divide the batch size.
        warm_up: Keep the smaller share min(momentum, (1 + step) / (10 + step)), so that a momentum
            near 1 does not hold on to the initial statistics in a short run. The steps are counted
            in a weight.
        synchronized: Normalise by the statistics of the shares of all replicas. Needs one group.
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        groups: int = 1,
        warm_up: bool = False,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if synchronized and groups != 1:
            raise ValueError(
                "Groups keep their statistics apart, replicas that are synchronised share them: "
                f"choose one. Received: groups={groups}, synchronized=True"
            )
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"`momentum` must lie in [0, 1]. Received: momentum={momentum}")
        if epsilon <= 0.0:
            raise ValueError(f"`epsilon` must be positive. Received: epsilon={epsilon}")
        if groups < 1:
            raise ValueError(f"`groups` must be at least 1. Received: groups={groups}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.groups = groups
        self.warm_up = warm_up
        self.synchronized = synchronized

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates scale, offset and moving statistics for ``[B, H, W, C]`` inputs."""
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                "FusedBatchNormalization expects inputs [B, H, W, C] with a known number of "
                f"channels C. Received: input_shape={tuple(input_shape)}"
            )
        self.gamma = self._channel_weight("gamma", input_shape[-1], "ones", trainable=True)
        self.beta = self._channel_weight("beta", input_shape[-1], "zeros", trainable=True)
        self.moving_mean = self._channel_weight(
            "moving_mean", input_shape[-1], "zeros", trainable=False
        )
        self.moving_variance = self._channel_weight(
            "moving_variance", input_shape[-1], "ones", trainable=False
        )
        if self.warm_up:
            self.num_steps = self.add_weight(
                name="num_steps",
                shape=(),
                initializer="zeros",
                trainable=False,
                dtype="float32",
                autocast=False,
            )

    def _channel_weight(
        self, name: str, channels: int, initializer: str, *, trainable: bool
    ) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(channels,),
            initializer=initializer,
            trainable=trainable,
            dtype="float32",
            autocast=False,
            # Each replica of a step counts as one more group. A trained weight needs none of it:
            # its gradients are joined before it moves.
            aggregation="none" if trainable else "mean",
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises ``[B, H, W, C]`` per channel, by the batch's or by the moving statistics."""
        if not (training and self.trainable):
            return self._fused(inputs, self.moving_mean, self.moving_variance)[0]
        if self.synchronized and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            outputs, mean, variance = self._shared(inputs)
        elif self.groups == 1:
            outputs, mean, variance = self._fused(inputs)
        else:
            outputs, mean, variance = self._split(inputs)
        kept = self._kept_share()
        self._move(self.moving_mean, mean, kept)
        self._move(self.moving_variance, variance, kept)
        return outputs

    def _kept_share(self) -> float | tf.Tensor:
        """Share of the moving statistics that this step keeps; counts the step."""
        if not self.warm_up:
            return self.momentum
        step = tf.convert_to_tensor(self.num_steps)
        self.num_steps.assign(step + 1.0)
        return tf.minimum(self.momentum, (1.0 + step) / (10.0 + step))

    def _split(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch_size = inputs.shape[0]
        if batch_size is not None and batch_size % self.groups:
            raise ValueError(
                f"Split batch normalisation needs a batch size divisible by groups={self.groups}. "
                f"Received: batch_size={batch_size}. Change one of the two."
            )
        parts = [self._fused(part) for part in tf.split(inputs, self.groups, axis=0)]
        outputs, means, variances = zip(*parts, strict=True)
        return (
            tf.concat(outputs, axis=0),
            tf.add_n(means) / self.groups,
            (tf.add_n(variances) / self.groups),
        )

    def _shared(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalises by the statistics of the shares of all replicas, which are equally large."""
        replica = tf.distribute.get_replica_context()

        def mean_over_all(values: tf.Tensor) -> tf.Tensor:
            own = tf.reduce_mean(values, axis=[0, 1, 2])
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, own) / (
                replica.num_replicas_in_sync
            )

        values = tf.cast(inputs, tf.float32)
        mean = mean_over_all(values)
        # In two passes: the difference of E[x^2] and E[x]^2 would lose digits.
        variance = mean_over_all(tf.math.square(values - mean))
        scale = tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(variance + self.epsilon)
        outputs = (values - mean) * scale + tf.convert_to_tensor(self.beta)
        return tf.cast(outputs, inputs.dtype), mean, variance

    def _fused(
        self,
        inputs: tf.Tensor,
        mean: keras.Variable | None = None,
        variance: keras.Variable | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalises by the given statistics, or by the batch's own if none are given."""
        nothing = tf.zeros([0], tf.float32)
        fused = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=nothing if mean is None else tf.convert_to_tensor(mean),
            variance=nothing if variance is None else tf.convert_to_tensor(variance),
            epsilon=self.epsilon,
            is_training=mean is None,
        )
        # The kernel reports the unbiased variance; Keras keeps the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        return fused.y, fused.batch_mean, fused.batch_variance * ((count - 1.0) / count)

    def _move(self, moving: keras.Variable, value: tf.Tensor, kept: float | tf.Tensor) -> None:
        moving.assign(moving * kept + tf.stop_gradient(value) * (1.0 - kept))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "groups": self.groups,
            "warm_up": self.warm_up,
            "synchronized": self.synchronized,
        }


def synchronize(network: keras.Model) -> None:
    """Let every batch normalisation of one group share its statistics between replicas.

    Call it before the network is copied or traced. On one device nothing changes.

    Args:
        network: A functional or sequential model.
    """
    for layer in network._flatten_layers():
        if isinstance(layer, FusedBatchNormalization) and layer.groups == 1:
            layer.synchronized = True


@keras.saving.register_keras_serializable(package="spice_keras")
class PixelNormalization(keras.layers.Layer):
    """Pixel normalisation: uint8 RGB to zero mean and unit deviation, ``(x / 255 - mean) / std``.

    Args:
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, > 0.
        **kwargs: Passed to ``keras.layers.Layer``.

    Raises:
        ValueError: If the two differ in length or a deviation is not positive.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(mean) != len(std) or min(std) <= 0.0:
            raise ValueError(
                "`mean` and `std` must have one value per channel and `std` must be positive. "
                f"Received: mean={tuple(mean)}, std={tuple(std)}"
            )
        self.mean = tuple(mean)
        self.std = tuple(std)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Maps uint8 ``[B, H, W, C]`` in 0..255 to the compute dtype."""
        scale = tf.constant([1.0 / (255.0 * deviation) for deviation in self.std])
        offset = tf.constant([m / s for m, s in zip(self.mean, self.std, strict=True)])
        return tf.cast(tf.cast(images, tf.float32) * scale - offset, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"mean": list(self.mean), "std": list(self.std)}

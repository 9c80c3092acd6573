"""The encoders' convolution: the gradient of its kernel is a matrix product if that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from spice_keras.runtime import processor_flags

# Products of channels per position of the output above which matrix products were the faster.
_CHANNELS_PER_POSITION = 512


def kernel_gradient(
    images: tf.Tensor, gradients: tf.Tensor, kernel: int, strides: int
) -> tf.Tensor:
    """Gradient of a convolution's kernel, one matrix product for each of its positions.

    Under position (a, b) of the kernel lies the image shifted by as much, thinned out by the
    stride: its rows times the rows of the output's gradient sum over batch and places at once.

    Args:
        images: What was convolved, padding included. Shape: ``[B, H, W, C]``, sides known.
        gradients: Of the output. Shape: ``[B, (H - k) // s + 1, (W - k) // s + 1, F]``.
        kernel: Side k of the kernel, >= 1.
        strides: Stride s in both directions, >= 1.

    Returns:
        The gradient in the type of the arguments, summed as their matrix products sum.
        Shape: ``[k, k, C, F]``.
    """
    _, high, wide, channels = images.shape
    _, rows, columns, filters = gradients.shape
    # Cut into the stride's phases, a thinned-out image is a plain slice: strided ones are slow.
    missing = [-high % strides, -wide % strides]
    images = tf.pad(images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
    down, across = (high + missing[0]) // strides, (wide + missing[1]) // strides
    phases = tf.reshape(images, (-1, down, strides, across, strides, channels))
    phases = tf.transpose(phases, (2, 4, 0, 1, 3, 5))

    def under(a: int, b: int) -> tf.Tensor:
        (top, row), (left, column) = divmod(a, strides), divmod(b, strides)
        shifted = phases[row, column, :, top : top + rows, left : left + columns]
        return tf.reshape(shifted, (-1, channels))

    flat = tf.reshape(gradients, (-1, filters))
    products = [
        tf.matmul(under(a, b), flat, transpose_a=True) for a in range(kernel) for b in range(kernel)
    ]
    return tf.reshape(tf.stack(products), (kernel, kernel, channels, filters))


def by_products(
    dtype: tf.DType, kernel_shape: Sequence[int], output_shape: Sequence[int | None]
) -> bool:
    """Tell whether `kernel_gradient` is faster than TensorFlow's own gradient.

    If an output is small and has many channels, TensorFlow's gradient of a bfloat16 kernel is up to
    three times as slow as its other products. This was measured on processors with AVX-512 BF16 and
    without AMX, and on no others.

    Args:
        dtype: Of the image and the kernel.
        kernel_shape: ``[k, k, C, F]``.
        output_shape: ``[B, H, W, F]``.

    Returns:
        True for bfloat16 on such a processor, without a GPU, if k > 1, the sides are known and
        C F is at least 512 H W.
    """
    flags = processor_flags()
    if dtype != tf.bfloat16 or "avx512_bf16" not in flags or "amx_bf16" in flags:
        return False
    high, wide = output_shape[1:3]
    if tf.config.list_physical_devices("GPU") or kernel_shape[0] == 1 or not (high and wide):
        return False
    return kernel_shape[2] * kernel_shape[3] >= _CHANNELS_PER_POSITION * high * wide


@keras.saving.register_keras_serializable(package="spice_keras")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution, with `kernel_gradient` as the gradient of its kernel if that is faster.

    (Files of weights address a layer by the name of its class, so it has Keras's.)
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Convolves ``[B, H, W, C]``."""
        # Outside of training no gradient is taken, and an export keeps Keras's plain operation.
        if training and self._is_plain():
            kernel = tf.convert_to_tensor(self.kernel)
            if by_products(inputs.dtype, kernel.shape, self.compute_output_shape(inputs.shape)):
                return _convolve(inputs, kernel, self.strides[0], self.padding.upper())
        return super().call(inputs)

    def _is_plain(self) -> bool:
        """Whether the layer is a square convolution and nothing else, its padding plain too."""
        return (
            not self.use_bias
            and self.activation is keras.activations.linear
            and self.data_format == "channels_last"
            and self.groups == 1
            and set(self.dilation_rate) == {1}
            and len(set(self.kernel_size)) == len(set(self.strides)) == 1
            and (self.padding == "valid" or (self.padding == "same" and self.strides[0] == 1))
        )


def _convolve(images: tf.Tensor, kernel: tf.Tensor, strides: int, padding: str) -> tf.Tensor:
    """Convolution with the gradient of its kernel by matrix products."""
    side = kernel.shape[0]
    # What "SAME" adds at a stride of 1.
    around = [(side - 1) // 2, side // 2] if padding == "SAME" else [0, 0]

    @tf.custom_gradient
    def convolve(
        images: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            to_images = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(images), strides, padding)
            padded = tf.pad(images, [[0, 0], around, around, [0, 0]])
            return to_images, kernel_gradient(padded, upstream, side, strides)

        return tf.nn.conv2d(images, kernel, strides, padding), gradient

    return convolve(images, kernel)

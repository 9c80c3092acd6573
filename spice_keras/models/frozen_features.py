"""Features of a frozen encoder, computed in chunks inside a training step."""

from __future__ import annotations

import keras
import tensorflow as tf


def frozen_features(
    encoder: keras.Model, images: tf.Tensor, chunk: int, *, adapt: bool = False
) -> tf.Tensor:
    """Features of a large batch through a frozen encoder, a chunk at a time.

    Runs in inference mode and lets no gradient through, so that neither weights nor batch
    statistics change. The last chunk may be smaller.

    Args:
        encoder: uint8 images to pooled features ``[B, D]``.
        images: uint8 ``[M, S, S, 3]``.
        chunk: Images per forward pass, >= 1.
        adapt: Normalise each chunk by its own statistics and let the moving ones follow; the
            weights stay. Chunks are then made equally large, lest a last one of a few images
            have statistics of its own.

    Returns:
        float32 features ``[M, D]``.

    SPICE (arXiv 2103.09382) Sec. 3.2: the CNN is fixed while the heads train.
    """
    num_images = tf.shape(images)[0]
    dim = encoder.output_shape[-1]
    if adapt:
        chunk = -(-num_images // -(-num_images // chunk))

    def encode(start: tf.Tensor, done: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        features = encoder(images[start : start + chunk], training=adapt)
        return start + chunk, done.write(start // chunk, tf.cast(features, tf.float32))

    empty = tf.TensorArray(
        tf.float32, size=-(-num_images // chunk), element_shape=[None, dim], infer_shape=False
    )
    _, done = tf.while_loop(
        lambda start, _: start < num_images, encode, (0, empty), parallel_iterations=1
    )
    return tf.stop_gradient(tf.ensure_shape(done.concat(), [images.shape[0], dim]))

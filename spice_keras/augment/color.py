"""Colour jitter, grey and tone curves; their results are float images in 0..255."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from spice_keras.augment.draws import chance, integers, split_seed, uniform
from spice_keras.augment.point import LEVELS, look_up

LUMINANCE = (0.299, 0.587, 0.114)
_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)


class ColorJitter(NamedTuple):
    """ColorJitter's draw for each image.

    Attributes:
        factors: float32 [B, 3]: brightness, contrast and saturation; 1 changes nothing.
        order: int32 [B, 3]: a permutation of brightness 0, contrast 1, saturation 2.
        hue: float32 [B]: turn of the hue, as a share of the circle; 0 changes nothing.
        hue_place: int32 [B] in 0..3: how many of the three come before the hue.
    """

    factors: tf.Tensor
    order: tf.Tensor
    hue: tf.Tensor
    hue_place: tf.Tensor


def sample_color_jitter(
    seed: tf.Tensor,
    batch_size: tf.Tensor,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    probability: float,
) -> ColorJitter:
    """Draws ColorJitter: factors in 1 -+ strength, a turn of the hue, the order of the four.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        brightness: Strength in [0, 1].
        contrast: Strength in [0, 1].
        saturation: Strength in [0, 1].
        hue: Largest turn, in [0, 0.5].
        probability: Share of the images that are jittered.

    Returns:
        The draw of each image.
    """
    *factor_seeds, hue_seed, order_seed, place_seed, chance_seed = split_seed(seed, 7)
    factors = [
        uniform(part, batch_size, 1.0 - strength, 1.0 + strength)
        for part, strength in zip(factor_seeds, (brightness, contrast, saturation), strict=True)
    ]
    jittered = chance(chance_seed, batch_size, probability)
    return ColorJitter(
        factors=tf.where(jittered[:, None], tf.stack(factors, axis=1), 1.0),
        order=tf.argsort(tf.random.stateless_uniform([batch_size, 3], order_seed), axis=1),
        hue=tf.where(jittered, uniform(hue_seed, batch_size, -hue, hue), 0.0),
        hue_place=integers(place_seed, batch_size, 0, 3),
    )


def color_jitter(images: tf.Tensor, parameters: ColorJitter) -> tf.Tensor:
    """Applies brightness, contrast, saturation and hue in each image's own order.

    Args:
        images: float32 [B, H, W, 3] in 0..255.
        parameters: The draw of each image.

    Returns:
        float32 [B, H, W, 3] in 0..255, clipped after each of the four.
    """
    for place in range(4):
        rows = tf.where((parameters.hue_place == place) & (parameters.hue != 0.0))
        turned = shift_hue(tf.gather_nd(images, rows), tf.gather_nd(parameters.hue, rows))
        images = tf.tensor_scatter_nd_update(images, rows, turned)
        if place < 3:
            images = _blend(images, parameters.factors, parameters.order[:, place])
    return images


def _blend(images: tf.Tensor, factors: tf.Tensor, operation: tf.Tensor) -> tf.Tensor:
    """Blends each image with black, its mean grey or its greys, as its operation says."""
    factor = tf.gather(factors, operation, batch_dims=1)
    gray_share = tf.where(operation == _SATURATION, 1.0 - factor, 0.0)
    mean_share = tf.where(operation == _CONTRAST, 1.0 - factor, 0.0)
    mean = tf.reduce_sum(tf.reduce_mean(images, axis=[1, 2]) * LUMINANCE, axis=1)
    blended = _mix_channels(images, factor, gray_share)
    blended += (mean_share * mean)[:, None, None, None]
    return tf.clip_by_value(blended, 0.0, 255.0)


def _mix_channels(images: tf.Tensor, own: tf.Tensor, gray: tf.Tensor) -> tf.Tensor:
    """Returns `own * image + gray * luminance`, the shares float32 [B], as one product."""
    to_gray = tf.repeat(tf.constant(LUMINANCE)[:, None], 3, axis=1)
    matrices = own[:, None, None] * tf.eye(3) + gray[:, None, None] * to_gray
    shape = tf.shape(images)
    pixels = tf.reshape(images, [shape[0], shape[1] * shape[2], 3])
    return tf.reshape(tf.matmul(pixels, matrices), shape)


def shift_hue(images: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turns each image's hue in HSV space.

    Args:
        images: float32 [B, H, W, 3] in 0..255.
        turns: float32 [B], as shares of the colour circle.

    Returns:
        float32 [B, H, W, 3] in 0..255.
    """
    # Only the hue moves, so the way back needs neither saturation nor a case for each sixth of the
    # circle: a third less time than TensorFlow's two conversions.
    red, green, blue = tf.unstack(images, axis=-1)
    value = tf.maximum(tf.maximum(red, green), blue)
    least = tf.minimum(tf.minimum(red, green), blue)
    chroma = value - least
    scale = tf.math.divide_no_nan(1.0, chroma)
    sixths = tf.where(
        value == red,
        (green - blue) * scale,
        tf.where(value == green, 2.0 + (blue - red) * scale, 4.0 + (red - green) * scale),
    )
    hue = sixths / 6.0 + turns[:, None, None]
    # floor is several times faster here than the floating-point remainder.
    hue = 6.0 * (hue - tf.floor(hue))
    shares = (tf.abs(hue - 3.0) - 1.0, 2.0 - tf.abs(hue - 2.0), 2.0 - tf.abs(hue - 4.0))
    channels = [least + chroma * tf.clip_by_value(share, 0.0, 1.0) for share in shares]
    return tf.stack(channels, axis=-1)


def sample_grayscale(seed: tf.Tensor, batch_size: tf.Tensor, probability: float) -> tf.Tensor:
    """Draws which images lose their colour: bool [B] from an int32 [2] seed."""
    return chance(seed, batch_size, probability)


def grayscale(images: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Replaces the colours of the marked images by their grey on all three channels.

    Args:
        images: float32 [B, H, W, 3] in 0..255.
        chosen: bool [B].

    Returns:
        float32 [B, H, W, 3].
    """
    gray = tf.cast(chosen, tf.float32)
    return _mix_channels(images, 1.0 - gray, gray)


def sample_tone(
    seed: tf.Tensor, batch_size: tf.Tensor, *, brightness: float, gamma: float
) -> tf.Tensor:
    """Draws a tone curve for each image.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        brightness: The gain is uniform in 1 -+ brightness.
        gamma: The exponent's logarithm is uniform in -+ gamma.

    Returns:
        float32 [B, 2]: gain, exponent.
    """
    gain_seed, gamma_seed = split_seed(seed, 2)
    gains = uniform(gain_seed, batch_size, 1.0 - brightness, 1.0 + brightness)
    exponents = tf.exp(uniform(gamma_seed, batch_size, -gamma, gamma))
    return tf.stack([gains, exponents], axis=1)


def tone(images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    """Applies `gain * v ** exponent` to all channels alike, so that grey stays grey.

    Args:
        images: uint8 [B, H, W, 3].
        parameters: float32 [B, 2]: gain, exponent.

    Returns:
        float32 [B, H, W, 3] in 0..255, not rounded.
    """
    gains, exponents = parameters[:, :1], parameters[:, 1:]
    levels = tf.range(LEVELS, dtype=tf.float32)[None] / 255.0
    tables = 255.0 * tf.minimum(gains * tf.pow(levels, exponents), 1.0)
    return look_up(images, tables[:, None])

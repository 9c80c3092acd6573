"""The fourteen operations of the strong policy: sampling and applying them to a batch."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from spice_keras.augment import enhance, histogram, point
from spice_keras.augment.draws import split_seed
from spice_keras.augment.rigid import move

# name: (lowest, highest) value of the operation's parameter. Rotate is in degrees, shear in
# pixels per pixel, translate in shares of the side, Posterize in bits (floored: 4 to 7). The
# random sign of the geometric operations is part of their symmetric ranges.
OPERATIONS: dict[str, tuple[float, float]] = {
    "Identity": (0.0, 1.0),
    "AutoContrast": (0.0, 1.0),
    "Equalize": (0.0, 1.0),
    "Rotate": (-30.0, 30.0),
    "Solarize": (0.0, 256.0),
    "Color": (0.05, 0.95),
    "Contrast": (0.05, 0.95),
    "Brightness": (0.05, 0.95),
    "Sharpness": (0.05, 0.95),
    "ShearX": (-0.1, 0.1),
    "ShearY": (-0.1, 0.1),
    "TranslateX": (-0.1, 0.1),
    "TranslateY": (-0.1, 0.1),
    "Posterize": (4.0, 8.0),
}
KINDS = {name: kind for kind, name in enumerate(OPERATIONS)}

# Operations of one family are computed together; each image pays only for its own family.
_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("Identity",),
    ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"),
    ("Solarize", "Brightness", "Posterize"),
    ("AutoContrast", "Equalize"),
    ("Color", "Contrast"),
    ("Sharpness",),
)


class Operations(NamedTuple):
    """The strong policy's draw for each image, in the order in which it is applied.

    Attributes:
        kinds: int32 [num_ops, B], places in `OPERATIONS`.
        values: float32 [num_ops, B], the parameter of each operation in its own unit.
    """

    kinds: tf.Tensor
    values: tf.Tensor


def sample_operations(seed: tf.Tensor, batch_size: tf.Tensor, num_ops: int) -> Operations:
    """Draws operations with replacement and their values, uniform in each one's range.

    Args:
        seed: int32 [2].
        batch_size: Number of images, a scalar.
        num_ops: How many operations each image gets.

    Returns:
        The draw of each image.
    """
    kind_seed, value_seed = split_seed(seed, 2)
    shape = [num_ops, batch_size]
    kinds = tf.random.stateless_uniform(shape, kind_seed, 0, len(OPERATIONS), tf.int32)
    low, high = tf.unstack(tf.gather(tf.constant(list(OPERATIONS.values())), kinds), axis=-1)
    share = tf.random.stateless_uniform(shape, value_seed)
    return Operations(kinds=kinds, values=low + share * (high - low))


def apply_operations(images: tf.Tensor, operations: Operations) -> tf.Tensor:
    """Applies each image's operations one after the other, with Pillow's rounding at each.

    Args:
        images: uint8 [B, H, W, 3].
        operations: The draw of each image.

    Returns:
        uint8 [B, H, W, 3].
    """
    for place in range(operations.kinds.shape[0]):
        images = apply_operation(images, operations.kinds[place], operations.values[place])
    return images


def apply_operation(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Applies one operation to each image.

    Args:
        images: uint8 [B, H, W, 3].
        kinds: int32 [B], places in `OPERATIONS`.
        values: float32 [B], the operations' parameters.

    Returns:
        uint8 [B, H, W, 3].
    """
    rows = tf.dynamic_partition(
        tf.range(tf.shape(images)[0]), tf.gather(_family_of_kind(), kinds), len(_FAMILIES)
    )
    parts = [
        apply_family(tf.gather(images, row), tf.gather(kinds, row), tf.gather(values, row))
        for apply_family, row in zip(_APPLY, rows, strict=True)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(rows, parts), images.shape)


def _family_of_kind() -> tf.Tensor:
    families = {name: place for place, names in enumerate(_FAMILIES) for name in names}
    return tf.constant([families[name] for name in OPERATIONS])


def _identity(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    del kinds, values
    return images


def _geometry(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    def part(name: str) -> tf.Tensor:
        return tf.where(kinds == KINDS[name], values, 0.0)

    return move(
        images,
        angle=part("Rotate"),
        shear_x=part("ShearX"),
        shear_y=part("ShearY"),
        translate_x=part("TranslateX"),
        translate_y=part("TranslateY"),
    )


def _point(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    tables = tf.where((kinds == KINDS["Solarize"])[:, None], point.solarize_table(values), 0)
    tables += tf.where((kinds == KINDS["Brightness"])[:, None], point.brightness_table(values), 0)
    tables += tf.where((kinds == KINDS["Posterize"])[:, None], point.posterize_table(values), 0)
    return point.look_up(images, tf.cast(tables, tf.uint8)[:, None])


def _histogram(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    del values
    counts = histogram.histograms(images)
    stretched = (kinds == KINDS["AutoContrast"])[:, None, None]
    tables = tf.where(
        stretched, histogram.autocontrast_table(counts), histogram.equalize_table(counts)
    )
    return point.look_up(images, tf.cast(tables, tf.uint8))


def _gray_blend(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    gray = enhance.gray_levels(images)
    flat = (kinds == KINDS["Contrast"])[:, None, None, None]
    return enhance.blend(tf.where(flat, enhance.mean_gray(gray), gray), images, values)


def _sharpness(images: tf.Tensor, kinds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    del kinds
    return enhance.blend(enhance.smooth(images), images, values)


_APPLY = (_identity, _geometry, _point, _histogram, _gray_blend, _sharpness)

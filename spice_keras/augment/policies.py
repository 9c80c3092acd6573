"""The named augmentation policies: a batch and a seed in, the augmented batch out.

Their options, with defaults and ranges, are defined in `spice_keras.options`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf
from pydantic import ValidationError

from spice_keras.augment import color, geometry
from spice_keras.augment.blur import gaussian_blur, sample_blur
from spice_keras.augment.crop import resized_crop, sample_resized_crop
from spice_keras.augment.cutout import cutout as cut_holes
from spice_keras.augment.cutout import sample_cutout
from spice_keras.augment.draws import split_seed
from spice_keras.augment.pixels import batch_sizes, to_pixels
from spice_keras.augment.strong import apply_operations, sample_operations
from spice_keras.options import (
    KerasCVPolicy,
    MocoPolicy,
    NonePolicy,
    PolicyOptions,
    SpicePolicy,
    UprightPolicy,
    WeakPolicy,
)

# uint8 images [B, H, W, 3] and an int32 seed [2] to uint8 images [B, H, W, 3].
Policy = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

MIN_BLUR_SIGMA = 0.1


def none(options: NonePolicy | None = None) -> Policy:
    """Leaves every image as it is."""

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        del seed
        return images

    return policy


def weak(options: WeakPolicy | None = None) -> Policy:
    """FixMatch's flip-and-shift ("weak transformation" in SPICE (arXiv 2103.09382))."""
    o = options or WeakPolicy()

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, height, width = batch_sizes(images)
        shift_seed, flip_seed = split_seed(seed, 2)
        offsets = geometry.sample_shift(
            shift_seed, batch_size, int(o.shift * height), int(o.shift * width)
        )
        views = geometry.shift(images, offsets)
        return tf.ensure_shape(_maybe_flip(views, flip_seed, o.flip), images.shape)

    return policy


def moco(options: MocoPolicy | None = None) -> Policy:
    """MoCo v2's view: random resized crop, colour jitter, grey, blur, mirror (arXiv 2003.04297)."""
    o = options or MocoPolicy()
    draw_crop = partial(sample_resized_crop, min_scale=o.min_scale, max_scale=o.max_scale)
    draw_jitter = partial(
        color.sample_color_jitter,
        brightness=o.brightness,
        contrast=o.contrast,
        saturation=o.saturation,
        hue=o.hue,
    )
    draw_blur = partial(sample_blur, min_sigma=MIN_BLUR_SIGMA, max_sigma=o.blur_max_sigma)

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, height, width = batch_sizes(images)
        crop_seed, jitter_seed, gray_seed, blur_seed, flip_seed = split_seed(seed, 5)
        views = resized_crop(images, draw_crop(crop_seed, batch_size, height, width))
        jitter = draw_jitter(jitter_seed, batch_size, probability=o.jitter_probability)
        views = color.color_jitter(views, jitter)
        gray = color.sample_grayscale(gray_seed, batch_size, o.grayscale_probability)
        views = color.grayscale(views, gray)
        sigmas = draw_blur(blur_seed, batch_size, probability=o.blur_probability)
        views = to_pixels(gaussian_blur(views, sigmas, max_sigma=o.blur_max_sigma))
        return tf.ensure_shape(_maybe_flip(views, flip_seed, o.flip), images.shape)

    return policy


def spice(options: SpicePolicy | None = None) -> Policy:
    """The paper's "strong transformation": mirror, operations, Cutout (arXiv 2103.09382)."""
    o = options or SpicePolicy()

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, _, _ = batch_sizes(images)
        flip_seed, operations_seed, cutout_seed = split_seed(seed, 3)
        views = _maybe_flip(images, flip_seed, o.flip)
        operations = sample_operations(operations_seed, batch_size, o.num_ops)
        views = apply_operations(views, operations)
        return tf.ensure_shape(_maybe_cutout(views, cutout_seed, o.max_cutout), images.shape)

    return policy


def upright(options: UprightPolicy | None = None) -> Policy:
    """Views for images whose reading direction and colours matter: digits, documents, defects."""
    o = options or UprightPolicy()

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, _, _ = batch_sizes(images)
        affine_seed, tone_seed, blur_seed, cutout_seed = split_seed(seed, 4)
        curves = color.sample_tone(tone_seed, batch_size, brightness=o.brightness, gamma=o.gamma)
        views = color.tone(images, curves)
        maps = geometry.sample_affine(
            affine_seed, batch_size, rotate=o.rotate, zoom=o.zoom, shift=o.shift, shear=o.shear
        )
        views = geometry.affine(views, maps, fill=o.fill)
        if o.blur_max_sigma > 0.0:
            sigmas = sample_blur(blur_seed, batch_size, min_sigma=0.0, max_sigma=o.blur_max_sigma)
            views = gaussian_blur(views, sigmas, max_sigma=o.blur_max_sigma)
        return tf.ensure_shape(_maybe_cutout(to_pixels(views), cutout_seed, o.cutout), images.shape)

    return policy


def kerascv(options: KerasCVPolicy | None = None) -> Policy:
    """KerasCV's own RandAugment and RandomCutout, as a pure function of the seed."""
    o = options or KerasCVPolicy()
    # KerasCV costs a second and some memory: only this policy pays.
    from spice_keras.augment.keras_cv_policy import seeded_rand_augment

    return seeded_rand_augment(num_ops=o.num_ops, magnitude=o.magnitude, cutout=o.cutout)


POLICIES: dict[type[PolicyOptions], Callable[[Any], Policy]] = {
    NonePolicy: none,
    WeakPolicy: weak,
    MocoPolicy: moco,
    SpicePolicy: spice,
    KerasCVPolicy: kerascv,
    UprightPolicy: upright,
}
"""The builder of each policy, by the class of its options."""


def policy_names() -> dict[str, type[PolicyOptions]]:
    """The options' class of each policy, by the policy's name."""
    return {options.model_fields["policy"].default: options for options in POLICIES}


def build_policy(policy: str | PolicyOptions, **parameters: Any) -> Policy:
    """Builds an augmentation policy.

    Args:
        policy: Its name ("none", "weak", "moco", "spice", "kerascv", "upright"), or its options.
        **parameters: With a name, options that differ from the defaults.

    Returns:
        A function (images uint8 [B, H, W, 3], seed int32 [2]) -> images of the same shape.

    Raises:
        ValueError: If the name or an option is unknown, or a value out of range.

    Example:
        >>> import tensorflow as tf
        >>> view = build_policy("weak", shift=0.25)
        >>> view(tf.zeros([2, 8, 8, 3], tf.uint8), tf.constant([0, 1])).shape
        TensorShape([2, 8, 8, 3])
    """
    if not isinstance(policy, str):
        return POLICIES[type(policy)](policy)
    known = policy_names()
    if policy not in known:
        raise ValueError(f"`policy` must be one of {', '.join(known)}. Received: {policy!r}")
    try:
        options = known[policy](**parameters)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or policy}: {one['msg']}" for one in error.errors()
        )
        names = ", ".join(name for name in known[policy].model_fields if name != "policy")
        raise ValueError(
            f"The policy {policy!r} takes {names or 'no options'}. {wrong}. Received: {parameters}"
        ) from error
    return POLICIES[type(options)](options)


def _maybe_flip(images: tf.Tensor, seed: tf.Tensor, flip: bool) -> tf.Tensor:
    if not flip:
        return images
    return geometry.flip(images, geometry.sample_flip(seed, tf.shape(images)[0]))


def _maybe_cutout(images: tf.Tensor, seed: tf.Tensor, max_share: float) -> tf.Tensor:
    if max_share == 0.0:
        return images
    batch_size, height, width = batch_sizes(images)
    max_side = max(1, int(max_share * min(height, width)))
    holes = sample_cutout(seed, batch_size, height, width, max_side=max_side)
    return cut_holes(images, holes)

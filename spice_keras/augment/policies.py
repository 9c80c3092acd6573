"""The named augmentation policies: a batch and a seed in, the augmented batch out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from spice_keras.augment import color, geometry
from spice_keras.augment.blur import gaussian_blur, sample_blur
from spice_keras.augment.crop import resized_crop, sample_resized_crop
from spice_keras.augment.cutout import cutout as cut_holes
from spice_keras.augment.cutout import sample_cutout
from spice_keras.augment.draws import split_seed
from spice_keras.augment.pixels import batch_sizes, to_pixels
from spice_keras.augment.ranges import check_range, check_shares
from spice_keras.augment.strong import apply_operations, sample_operations

# uint8 images [B, H, W, 3] and an int32 seed [2] to uint8 images [B, H, W, 3].
Policy = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

MIN_BLUR_SIGMA = 0.1


def none() -> Policy:
    """Leaves every image as it is."""

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        del seed
        return images

    return policy


def weak(*, flip: bool = True, shift: float = 0.125) -> Policy:
    """FixMatch's flip-and-shift: a random crop of the zero-padded image, then a mirror.

    Args:
        flip: Whether half of the images are mirrored.
        shift: Largest shift along each axis, as a share of the side, in [0, 1].

    Returns:
        The policy ("weak transformation" in SPICE (arXiv 2103.09382)).

    Raises:
        ValueError: If `shift` is out of range.
    """
    check_shares(shift=shift)

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, height, width = batch_sizes(images)
        shift_seed, flip_seed = split_seed(seed, 2)
        offsets = geometry.sample_shift(
            shift_seed, batch_size, int(shift * height), int(shift * width)
        )
        views = geometry.shift(images, offsets)
        return tf.ensure_shape(_maybe_flip(views, flip_seed, flip), images.shape)

    return policy


def moco(
    *,
    min_scale: float = 0.2,
    max_scale: float = 1.0,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    jitter_probability: float = 0.8,
    grayscale_probability: float = 0.2,
    blur_probability: float = 0.5,
    blur_max_sigma: float = 2.0,
    flip: bool = True,
) -> Policy:
    """MoCo-v2's view: random resized crop, colour jitter, grey, blur, mirror.

    Args:
        min_scale: Smallest share of the area that a crop keeps, in (0, 1].
        max_scale: Largest share of the area that a crop keeps, in (0, 1].
        brightness: Strength of the brightness jitter, in [0, 1].
        contrast: Strength of the contrast jitter, in [0, 1].
        saturation: Strength of the saturation jitter, in [0, 1].
        hue: Largest turn of the hue, in [0, 0.5] of the colour circle.
        jitter_probability: Share of the images whose colours are jittered.
        grayscale_probability: Share of the images that lose their colours.
        blur_probability: Share of the images that are blurred.
        blur_max_sigma: Largest standard deviation of the blur, in pixels; the smallest is 0.1.
        flip: Whether half of the images are mirrored.

    Returns:
        The policy (MoCo-v2 (arXiv 2003.04297)).

    Raises:
        ValueError: If a parameter is out of range.
    """
    check_shares(
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        jitter_probability=jitter_probability,
        grayscale_probability=grayscale_probability,
        blur_probability=blur_probability,
    )
    check_range("hue", hue, 0.0, 0.5)
    check_range("blur_max_sigma", blur_max_sigma, MIN_BLUR_SIGMA, 100.0)
    if not 0.0 < min_scale <= max_scale <= 1.0:
        raise ValueError(
            "Crops need 0 < min_scale <= max_scale <= 1. "
            f"Received: min_scale={min_scale}, max_scale={max_scale}"
        )
    draw_crop = partial(sample_resized_crop, min_scale=min_scale, max_scale=max_scale)
    draw_jitter = partial(
        color.sample_color_jitter,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
    )
    draw_blur = partial(sample_blur, min_sigma=MIN_BLUR_SIGMA, max_sigma=blur_max_sigma)

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, height, width = batch_sizes(images)
        crop_seed, jitter_seed, gray_seed, blur_seed, flip_seed = split_seed(seed, 5)
        views = resized_crop(images, draw_crop(crop_seed, batch_size, height, width))
        jitter = draw_jitter(jitter_seed, batch_size, probability=jitter_probability)
        views = color.color_jitter(views, jitter)
        gray = color.sample_grayscale(gray_seed, batch_size, grayscale_probability)
        views = color.grayscale(views, gray)
        sigmas = draw_blur(blur_seed, batch_size, probability=blur_probability)
        views = to_pixels(gaussian_blur(views, sigmas, max_sigma=blur_max_sigma))
        return tf.ensure_shape(_maybe_flip(views, flip_seed, flip), images.shape)

    return policy


def spice(*, num_ops: int = 4, max_cutout: float = 0.5, flip: bool = True) -> Policy:
    """The paper's strong policy: mirror, some of fourteen operations, then Cutout.

    Args:
        num_ops: How many operations each image gets, drawn with replacement.
        max_cutout: Largest side of the hole, as a share of the image's side; 0 leaves it out.
        flip: Whether half of the images are mirrored.

    Returns:
        The policy ("strong transformation" in SPICE (arXiv 2103.09382)).

    Raises:
        ValueError: If a parameter is out of range.
    """
    check_range("num_ops", num_ops, 0, 14)
    check_shares(max_cutout=max_cutout)

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, _, _ = batch_sizes(images)
        flip_seed, operations_seed, cutout_seed = split_seed(seed, 3)
        views = _maybe_flip(images, flip_seed, flip)
        operations = sample_operations(operations_seed, batch_size, num_ops)
        views = apply_operations(views, operations)
        return tf.ensure_shape(_maybe_cutout(views, cutout_seed, max_cutout), images.shape)

    return policy


def upright(
    *,
    rotate: float = 10.0,
    zoom: float = 0.15,
    shift: float = 0.1,
    shear: float = 0.1,
    brightness: float = 0.4,
    gamma: float = 0.4,
    blur_max_sigma: float = 0.8,
    cutout: float = 0.0,
    fill: geometry.Fill = "reflect",
) -> Policy:
    """Views for images whose reading direction and colours matter: digits, documents, defects.

    One tone curve for all channels, one small affine map and a light blur; no mirror and no
    recolouring.

    Args:
        rotate: Largest angle, in degrees, in [0, 180].
        zoom: Largest relative change of size, in [0, 1).
        shift: Largest shift, as a share of the side, in [0, 1].
        shear: Largest shear, in pixels per pixel, in [0, 1].
        brightness: The gain is uniform in 1 -+ brightness, in [0, 1].
        gamma: The exponent's logarithm is uniform in -+ gamma, in [0, 1].
        blur_max_sigma: The blur's standard deviation is uniform in 0..this, in pixels.
        cutout: Largest side of a hole, as a share of the side; 0 leaves it out.
        fill: What lies outside the image: "reflect" (its mirror image) or "black".

    Returns:
        The policy.

    Raises:
        ValueError: If a parameter is out of range.
    """
    check_range("rotate", rotate, 0.0, 180.0)
    check_range("blur_max_sigma", blur_max_sigma, 0.0, 100.0)
    check_shares(shift=shift, shear=shear, brightness=brightness, gamma=gamma, cutout=cutout)
    if not 0.0 <= zoom < 1.0:
        raise ValueError(f"`zoom` must be in [0, 1). Received: zoom={zoom}")
    if fill not in ("reflect", "black"):
        raise ValueError(f'`fill` must be "reflect" or "black". Received: fill={fill!r}')

    def policy(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch_size, _, _ = batch_sizes(images)
        affine_seed, tone_seed, blur_seed, cutout_seed = split_seed(seed, 4)
        curves = color.sample_tone(tone_seed, batch_size, brightness=brightness, gamma=gamma)
        views = color.tone(images, curves)
        maps = geometry.sample_affine(
            affine_seed, batch_size, rotate=rotate, zoom=zoom, shift=shift, shear=shear
        )
        views = geometry.affine(views, maps, fill=fill)
        if blur_max_sigma > 0.0:
            sigmas = sample_blur(blur_seed, batch_size, min_sigma=0.0, max_sigma=blur_max_sigma)
            views = gaussian_blur(views, sigmas, max_sigma=blur_max_sigma)
        return tf.ensure_shape(_maybe_cutout(to_pixels(views), cutout_seed, cutout), images.shape)

    return policy


def kerascv(*, num_ops: int = 4, magnitude: float = 0.5, cutout: float = 0.5) -> Policy:
    """KerasCV's own RandAugment and RandomCutout, as a pure function of the seed.

    Args:
        num_ops: RandAugment's `augmentations_per_image`.
        magnitude: RandAugment's `magnitude`, in [0, 1].
        cutout: Largest height and width of the hole, as a share of the side; 0 leaves it out.

    Returns:
        The policy.

    Raises:
        ValueError: If a parameter is out of range.
    """
    check_range("num_ops", num_ops, 0, 14)
    check_shares(magnitude=magnitude, cutout=cutout)
    # KerasCV costs a second and some memory: only this policy pays.
    from spice_keras.augment.keras_cv_policy import seeded_rand_augment

    return seeded_rand_augment(num_ops=num_ops, magnitude=magnitude, cutout=cutout)


POLICIES: dict[str, Callable[..., Policy]] = {
    "none": none,
    "weak": weak,
    "moco": moco,
    "spice": spice,
    "kerascv": kerascv,
    "upright": upright,
}


def build_policy(name: str, **parameters: Any) -> Policy:
    """Builds a policy by its name.

    Args:
        name: A key of `POLICIES`.
        **parameters: The builder's own parameters.

    Returns:
        The policy.

    Raises:
        ValueError: If the name or a parameter is unknown, or a value out of range.
    """
    if name not in POLICIES:
        raise ValueError(f"`name` must be one of {', '.join(POLICIES)}. Received: name={name!r}")
    builder = POLICIES[name]
    known = inspect.signature(builder).parameters
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        expected = ", ".join(known) if known else "no parameters"
        raise ValueError(f"The policy {name!r} takes {expected}. Received: {', '.join(unknown)}")
    return builder(**parameters)


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

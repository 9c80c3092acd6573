"""Residual networks: uint8 images in, globally pooled float32 features out."""

from __future__ import annotations

import keras

from spice_keras.backbones.blocks import FEATURE_MAP, Blocks, normalized_pixels, pooled_encoder
from spice_keras.options import BackboneOptions, ResNetSpec


def residual_network(
    spec: ResNetSpec, options: BackboneOptions, *, image_size: int, bn_groups: int, seed: int
) -> keras.Model:
    """Build a residual network: a stem, then stages of basic blocks.

    Args:
        spec: The published network.
        options: Its name, and where it differs from the published one.
        image_size: Side of the square images, in pixels, >= 1.
        bn_groups: Sub-batches of split batch normalisation; 1 is plain batch normalisation.
        seed: Seed of the initial weights.

    Returns:
        A functional model: uint8 ``[B, S, S, 3]`` to float32 ``[B, D]`` pooled features, D being
        the filters of the last stage. Its layer ``feature_map`` is the last map after the ReLU.

    Raises:
        ValueError: If the image size is below 1.

    ResNet (arXiv 1512.03385) Table 1.
    """
    width = options.width or spec.width
    blocks = Blocks(
        seed=seed,
        bn_groups=bn_groups,
        bn_momentum=spec.bn_momentum if options.bn_momentum is None else options.bn_momentum,
        kernel_start=spec.kernel_start,
    )
    images, x = normalized_pixels(image_size, spec.mean, spec.std)
    strides = spec.stem_stride * options.stem_stride
    x = blocks.normalized(x, width, spec.stem_kernel, strides, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    if spec.stem_pool:
        # No value is negative after a ReLU, so the zeros of the padding change no maximum.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_padding")(x)
        x = keras.layers.MaxPooling2D(spec.stem_pool, strides=2, name="stem_pool")(x)
    for stage, number in enumerate(spec.repeats, start=1):
        for block in range(1, number + 1):
            last = stage == len(spec.repeats) and block == number
            x = blocks.basic_block(
                x,
                width * 2 ** (stage - 1),
                2 if stage > 1 and block == 1 else 1,
                f"stage{stage}_block{block}",
                FEATURE_MAP if last else "",
            )
    return pooled_encoder(images, x, options.name)

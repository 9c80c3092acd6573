"""An encoder that somebody made elsewhere, as the backbone of a run."""

from __future__ import annotations

import keras

from spice_keras.backbones.factory import register_backbone
from spice_keras.options import BackboneOptions, BuilderSpec

NAME = "own-encoder"


def register_encoder(encoder: keras.Model, *, image_size: int | None = None) -> int:
    """Make a trained encoder the backbone ``own-encoder`` of this process, with its weights.

    Args:
        encoder: A functional or sequential model of one input, images ``[B, S, S, 3]`` with values
            in 0..255, uint8 or float, and one output, pooled features ``[B, D]``. It is copied.
        image_size: Side S of the images, if the encoder leaves it open.

    Returns:
        The side of the images it takes, in pixels.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If its input or output has another shape.
    """
    if not isinstance(encoder, keras.Model):
        raise TypeError(
            "`encoder` must be a functional or sequential keras.Model from images [B, S, S, 3] to "
            f"features [B, D]. Received: {type(encoder).__name__}"
        )
    shapes = [tuple(tensor.shape) for tensor in (*(encoder.inputs or ()), *(encoder.outputs or ()))]
    side = _side(shapes, image_size)
    if side is None:
        raise ValueError(
            "`encoder` must take one batch of square images [B, S, S, 3] and give one batch of "
            "pooled features [B, D]; end it with GlobalAveragePooling2D, for example. Received: "
            f"shapes {shapes}"
        )
    network = _from_uint8(encoder, side)

    def copied(
        options: BackboneOptions, *, image_size: int, bn_groups: int, seed: int
    ) -> keras.Model:
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        return copy

    register_backbone(NAME, BuilderSpec(builder=copied, pretrained=True))
    return side


def _side(shapes: list[tuple[int | None, ...]], image_size: int | None) -> int | None:
    """Side of the images of [input, output]; None if they are of another form."""
    if [len(shape) for shape in shapes] != [4, 2] or shapes[1][1] is None:
        return None
    _, height, width, channels = shapes[0]
    return (height or image_size) if (height, channels) == (width, 3) else None


def _from_uint8(encoder: keras.Model, side: int) -> keras.Model:
    """The encoder from uint8 pixels to float32 features, whatever its own types are."""
    kind = keras.backend.standardize_dtype(encoder.inputs[0].dtype)
    if kind == "uint8" and encoder.outputs[0].dtype == "float32" and encoder.input_shape[1]:
        return encoder
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    features = encoder(keras.ops.cast(images, kind))
    return keras.Model(images, keras.ops.cast(features, "float32"), name="encoder")

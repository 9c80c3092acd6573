"""The clusterer as a SavedModel that takes encoded images or pixels of any size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from spice_keras.data.decoding import TRANSPARENCY_BACKGROUND
from spice_keras.options import Fit

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def export_clusterer(
    clusterer: keras.Model,
    directory: str | Path,
    *,
    image_size: int,
    fit: Fit = "crop",
    names: Sequence[str] = (),
) -> Path:
    """Writes a clusterer as a SavedModel with decoding and resizing inside.

    Its signatures return the clusterer's dictionary and ``name``, string ``[B]``:
    ``serving_default`` takes encoded images (JPEG, PNG, GIF's first frame, BMP) as
    ``encoded_images`` string ``[B]``, each of its own size; ``images`` takes ``images`` uint8
    ``[B, H, W, 3]``. Unlike the decoding before training,
    neither turns a photograph by its EXIF orientation.

    Args:
        clusterer: uint8 ``[B, S, S, 3]`` to a dictionary of tensors.
        directory: Folder to write; created with its parents.
        image_size: The side S the clusterer was built for, in pixels.
        fit: ``crop`` cuts the central square before resizing, ``stretch`` does not.
        names: What each cluster is called, "" if it has no name; none at all without words.

    Returns:
        The folder.

    Raises:
        ValueError: If ``fit`` is unknown or the clusterer takes another image size.
    """
    if fit not in ("crop", "stretch"):
        raise ValueError(f'`fit` must be "crop" or "stretch". Received: fit={fit!r}')
    if tuple(clusterer.input_shape[1:3]) != (image_size, image_size):
        raise ValueError(
            "`image_size` must be the side of the images the clusterer takes. Received: "
            f"image_size={image_size}, clusterer.input_shape={clusterer.input_shape}"
        )

    # Traced once, and called by both endpoints.
    squares = tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, "squares")
    classify = tf.function(partial(clusterer, training=False), [squares], autograph=False)

    def from_bytes(encoded_images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(
            lambda data: resized(decoded(data)[tf.newaxis], image_size, fit)[0],
            encoded_images,
            fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8),
        )
        return named(classify(images), names)

    def from_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return named(classify(resized(images, image_size, fit)), names)

    # Endpoints alone, without `track`: tracking the model as well writes every weight twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serving_default", from_bytes, [tf.TensorSpec([None], tf.string, "encoded_images")]
    )
    pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
    archive.add_endpoint("images", from_pixels, [pixels])
    archive.write_out(str(directory), verbose=False)
    return Path(directory)


def export_embedding_clusterer(
    clusterer: keras.Model, directory: str | Path, *, names: Sequence[str] = ()
) -> Path:
    """Writes a clusterer of embeddings as a SavedModel.

    Its signature ``serving_default`` takes ``embeddings`` float32 ``[B, D]``, not normalised, and
    returns the clusterer's dictionary and ``name``, string ``[B]``.

    Args:
        clusterer: float32 ``[B, D]`` to a dictionary of tensors.
        directory: Folder to write; created with its parents.
        names: What each cluster is called, "" if it has no name; none at all without words.

    Returns:
        The folder.
    """

    def from_embeddings(embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        return named(clusterer(embeddings, training=False), names)

    archive = keras.export.ExportArchive()
    rows = tf.TensorSpec([None, clusterer.input_shape[1]], tf.float32, "embeddings")
    archive.add_endpoint("serving_default", from_embeddings, [rows])
    archive.write_out(str(directory), verbose=False)
    return Path(directory)


def named(outputs: dict[str, tf.Tensor], names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Adds what the clusters are called.

    Args:
        outputs: The clusterer's dictionary, with ``cluster`` int ``[B]``.
        names: What each cluster is called; none at all without words.

    Returns:
        The dictionary with ``name``, string ``[B]``, "" for a cluster without a name.
    """
    if not names:
        return outputs | {"name": tf.fill(tf.shape(outputs["cluster"]), "")}
    return outputs | {"name": tf.gather(tf.constant(list(names)), outputs["cluster"])}


def decoded(data: tf.Tensor) -> tf.Tensor:
    """Decodes one image, in the graph.

    Args:
        data: Scalar string, the bytes of a JPEG, PNG (transparency goes over white, as in
            training), GIF or BMP file.

    Returns:
        uint8 RGB ``[H, W, 3]``.
    """
    # TensorFlow's default for JPEG is the fast, inexact transform; Pillow's is the accurate one.
    image = tf.case(
        [
            (
                tf.io.is_jpeg(data),
                lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            ),
            (
                tf.strings.substr(data, 0, len(_PNG_SIGNATURE)) == _PNG_SIGNATURE,
                lambda: _over_background(tf.io.decode_png(data, channels=4)),
            ),
        ],
        default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _over_background(image: tf.Tensor) -> tf.Tensor:
    """Lays transparency over the background that training saw; uint8 RGBA to RGB."""
    color, alpha = tf.split(tf.cast(image, tf.float32), [3, 1], axis=-1)
    background = tf.constant(TRANSPARENCY_BACKGROUND, tf.float32)
    return tf.cast(tf.round(background + (color - background) * alpha / 255.0), tf.uint8)


def resized(images: tf.Tensor, image_size: int, fit: Fit) -> tf.Tensor:
    """Resizes a batch to squares, bilinear and antialiased.

    Args:
        images: uint8 ``[B, H, W, 3]`` of any size.
        image_size: Side S of the result, in pixels.
        fit: ``crop`` keeps the aspect ratio and the central square, ``stretch`` neither.

    Returns:
        uint8 ``[B, S, S, 3]``.
    """
    if fit == "crop":
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        side = tf.minimum(height, width)
        images = tf.image.crop_to_bounding_box(
            images, (height - side) // 2, (width - side) // 2, side, side
        )
    scaled = tf.image.resize(images, [image_size, image_size], antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0.0, 255.0), tf.uint8)

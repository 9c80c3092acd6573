"""The clusterer as a SavedModel that takes encoded images, or pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from spice_keras.data.levels import Range
from spice_keras.options import Fit
from spice_keras.serving.file_headers import Header, read_header
from spice_keras.serving.file_pixels import decoded
from spice_keras.serving.resizing import resized

Outputs = dict[str, tf.Tensor]

_DEFAULT_MAX_PIXELS = 100_000_000
_PARALLEL_FILES = 4
_ALL_ROWS = 2**40
_DAMAGED = "damaged: its picture cannot be decoded"
_ENCODED = tf.TensorSpec([None], tf.string, "encoded_images")


def export_clusterer(
    clusterer: keras.Model,
    directory: str | Path,
    *,
    fit: Fit = "crop",
    names: Sequence[str] = (),
    unsure_below: float = 0.0,
    max_pixels: int = _DEFAULT_MAX_PIXELS,
    deep_range: Range | None = None,
) -> Path:
    """Writes a clusterer as a SavedModel with decoding and resizing inside.

    Its signatures return the clusterer's dictionary and what `answers` adds: ``second_choice``
    int32 ``[B]``, ``second_probability`` float32 ``[B]``, ``unsure`` bool ``[B]`` and ``name``
    string ``[B]``. ``serving_default`` takes encoded images (JPEG, PNG, GIF, WebP, BMP) as
    ``encoded_images`` string ``[B]``, each of its own size, turned by its EXIF orientation; it adds
    ``error`` string ``[B]``, and an image that cannot be decoded gets cluster -1 without failing
    the others. ``images`` takes ``images`` uint8 ``[B, H, W, 3]``, ``pixels`` takes ``pixels``
    uint8 ``[B, S, S, 3]``, which are not resized.

    Args:
        clusterer: uint8 ``[B, S, S, 3]`` to a dictionary of tensors.
        directory: Folder to write; created with its parents.
        fit: ``crop`` cuts the central square before resizing, ``stretch`` does not.
        names: What each cluster is called, "" if it has no name; none at all without words.
        unsure_below: Images with a confidence below this are told as unsure, in 0..1.
        max_pixels: Height times width from which on an encoded image is refused.
        deep_range: What is black and white in a PNG of 16 bits; None to take it from each alone.

    Returns:
        The folder.

    Raises:
        ValueError: If ``fit`` is unknown or the clusterer takes no squares.
    """
    if fit not in ("crop", "stretch"):
        raise ValueError(f'`fit` must be "crop" or "stretch". Received: fit={fit!r}')
    image_size, width = clusterer.input_shape[1:3]
    if image_size is None or image_size != width:
        raise ValueError(
            "The clusterer must take squares of one size. Received: "
            f"clusterer.input_shape={clusterer.input_shape}"
        )

    def classify_squares(squares: tf.Tensor) -> Outputs:
        outputs = answers(clusterer(_at_least_one(squares), training=False), names, unsure_below)
        return {name: value[: tf.shape(squares)[0]] for name, value in outputs.items()}

    # Traced here and called by the endpoints, each of which is traced twice while it is written.
    squares = tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, "pixels")
    classify = _traced(classify_squares, squares)
    known_range = None if deep_range is None else (deep_range[0], deep_range[1])
    decode = _decoder(image_size, fit, max_pixels, known_range)

    def from_bytes(encoded_images: tf.Tensor) -> Outputs:
        pixels, error = decode(encoded_images)
        return _without_failures(classify(pixels), error)

    def from_images(images: tf.Tensor) -> Outputs:
        return classify(resized(images, image_size, fit))

    # Endpoints alone, without `track`: tracking the model as well writes every weight twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", from_bytes, [_ENCODED])
    images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
    archive.add_endpoint("images", from_images, [images])
    archive.add_endpoint("pixels", lambda pixels: classify(pixels), [squares])
    archive.write_out(str(directory), verbose=False)
    return Path(directory)


def _at_least_one(squares: tf.Tensor) -> tf.Tensor:
    """A batch of none with a blank square, any other as it is.

    oneDNN gives the convolution of no images the shape of its input, not of its output
    (TensorFlow 2.21).
    """
    blank = tf.cast(tf.shape(squares)[0] == 0, tf.int32)
    return tf.pad(squares, [[0, blank], [0, 0], [0, 0], [0, 0]])


def _traced(function: Callable[..., Any], argument: tf.TensorSpec) -> Callable[..., Any]:
    return tf.function(function, [argument], autograph=False).get_concrete_function()


@cache
def _decoder(
    image_size: int, fit: Fit, max_pixels: int, deep_range: Range | None
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """`decoded_squares` as a graph. It holds no weights: all models of a process can share it."""
    return _traced(
        lambda encoded_images: decoded_squares(
            encoded_images, image_size, fit, max_pixels, deep_range
        ),
        _ENCODED,
    )


def export_embedding_clusterer(
    clusterer: keras.Model,
    directory: str | Path,
    *,
    names: Sequence[str] = (),
    unsure_below: float = 0.0,
) -> Path:
    """Writes a clusterer of embeddings as a SavedModel.

    Its signature ``serving_default`` takes ``embeddings`` float32 ``[B, D]``, not normalised, and
    returns the clusterer's dictionary and what `answers` adds.

    Args:
        clusterer: float32 ``[B, D]`` to a dictionary of tensors.
        directory: Folder to write; created with its parents.
        names: What each cluster is called, "" if it has no name; none at all without words.
        unsure_below: Items with a confidence below this are told as unsure, in 0..1.

    Returns:
        The folder.
    """

    def from_embeddings(embeddings: tf.Tensor) -> Outputs:
        return answers(clusterer(embeddings, training=False), names, unsure_below)

    archive = keras.export.ExportArchive()
    rows = tf.TensorSpec([None, clusterer.input_shape[1]], tf.float32, "embeddings")
    archive.add_endpoint("serving_default", from_embeddings, [rows])
    archive.write_out(str(directory), verbose=False)
    return Path(directory)


def answers(outputs: Outputs, names: Sequence[str], unsure_below: float) -> Outputs:
    """Adds second choice, doubt and name to a clusterer's outputs.

    Args:
        outputs: The clusterer's dictionary, with ``cluster`` int ``[B]``, ``confidence`` and
            ``probabilities``.
        names: What each cluster is called; none at all without words.
        unsure_below: The confidence below which ``unsure`` is true.

    Returns:
        The dictionary with ``name``, string ``[B]``, "" for a cluster without a name, and the
        outputs of `second_choices`.
    """
    outputs = outputs | second_choices(outputs, unsure_below)
    if not names:
        return outputs | {"name": tf.fill(tf.shape(outputs["cluster"]), "")}
    return outputs | {"name": tf.gather(tf.constant(list(names)), outputs["cluster"])}


def second_choices(outputs: Outputs, unsure_below: float) -> Outputs:
    """Reads off the second most probable cluster, and whether the first is in doubt.

    Args:
        outputs: The clusterer's dictionary, with ``probabilities`` ``[B, K]``, K > 1.
        unsure_below: The confidence below which ``unsure`` is true.

    Returns:
        ``second_choice`` int32 ``[B]``, ``second_probability`` float32 ``[B]`` and ``unsure`` bool
        ``[B]``.
    """
    values, clusters = tf.math.top_k(outputs["probabilities"], 2)
    return {
        "second_choice": clusters[:, 1],
        "second_probability": values[:, 1],
        "unsure": outputs["confidence"] < unsure_below,
    }


def decoded_squares(
    encoded_images: tf.Tensor,
    image_size: int,
    fit: Fit,
    max_pixels: int,
    deep_range: Range | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes and resizes files, in the graph; a file that fails leaves the others alone.

    Args:
        encoded_images: string ``[B]``, any B.
        image_size: Side S of the result, in pixels.
        fit: ``crop`` or ``stretch``.
        max_pixels: Height times width from which on an image is refused.
        deep_range: What is black and white in a PNG of 16 bits; None to take it from each alone.

    Returns:
        uint8 ``[B, S, S, 3]``, zeros for a file without an image, and string ``[B]``: why it has
        none, "" if it has one.
    """
    count = tf.size(encoded_images, tf.int64)
    # One more file at the end, so that there is a batch even if there are no files.
    every = tf.concat([encoded_images, [b""]], axis=0)
    as_it_is = tf.autograph.experimental.do_not_convert  # nothing here branches in Python
    headers = tf.data.Dataset.from_tensor_slices(every).map(
        as_it_is(partial(read_header, max_pixels=max_pixels)), num_parallel_calls=_PARALLEL_FILES
    )
    header = Header(*_in_one_batch(headers))
    readable = tf.where(header.reason == "")[:, 0]

    def square(row: tf.Tensor, data: tf.Tensor, *fields: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decoded(data, Header(*fields), image_size, deep_range)
        return row, resized(image[tf.newaxis], image_size, fit)[0]

    fields = [tf.gather(part, readable) for part in (every, *header)]
    files = tf.data.Dataset.from_tensor_slices((readable, *fields))
    squares = files.map(as_it_is(square), num_parallel_calls=_PARALLEL_FILES).ignore_errors()
    nothing = tf.zeros([image_size, image_size, 3], tf.uint8)
    squares = squares.concatenate(tf.data.Dataset.from_tensors((count, nothing)))
    rows, pixels = _in_one_batch(squares)
    shape = tf.concat([[count + 1], tf.shape(nothing, tf.int64)], axis=0)
    placed = tf.scatter_nd(rows[:, tf.newaxis], pixels, shape)[:count]
    found = tf.scatter_nd(rows[:, tf.newaxis], tf.ones_like(rows), [count + 1]) > 0
    error = tf.where(header.reason != "", header.reason, tf.where(found, "", _DAMAGED))
    return tf.ensure_shape(placed, [None, image_size, image_size, 3]), error[:count]


def _in_one_batch(dataset: tf.data.Dataset) -> tuple[tf.Tensor, ...]:
    """All elements of a data set that is not empty, in order."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # its thread may hold up the end by a minute
    batch: tuple[tf.Tensor, ...] = (
        dataset.batch(_ALL_ROWS).with_options(options).get_single_element()
    )
    return batch


def _without_failures(outputs: Outputs, error: tf.Tensor) -> Outputs:
    """Empty answers for images that were not decoded, and the reason beside them."""
    failed = error != ""
    blanks = {"cluster": -1, "second_choice": -1, "name": "", "unsure": True}
    result = {"error": error}
    for name, value in outputs.items():
        rows = failed if value.shape.rank == 1 else failed[:, tf.newaxis]
        result[name] = tf.where(rows, tf.constant(blanks.get(name, 0), value.dtype), value)
    return result

"""Images from TensorFlow Datasets, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from spice_keras.data.decoding import resize_image
from spice_keras.data.sources import Decoded, SkippedFile
from spice_keras.errors import UserError
from spice_keras.options import Fit


def tfds_ids(name: str, split: str, num_rows: int) -> list[str]:
    """Ids of the rows of a split: data set, split and row number."""
    return [f"{name}/{split}/{row:07d}" for row in range(num_rows)]


def prepared_builder(name: str, data_dir: str | Path | None) -> Any:
    """The builder of a data set, downloaded and prepared where it is not yet.

    Args:
        name: as TensorFlow Datasets has it, for example "cifar10" or "cifar10:3.0.2".
        data_dir: where prepared data sets lie; None for TensorFlow Datasets' own place.

    Returns:
        A ``tfds.core.DatasetBuilder``.

    Raises:
        UserError: for an unknown name, or when the data can neither be found nor prepared.
    """
    import tensorflow_datasets as tfds

    where = "its default folder" if data_dir is None else str(data_dir)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(
            f"TensorFlow Datasets has no data set {name!r} ({reason}). "
            "Its catalogue of names: https://www.tensorflow.org/datasets/catalog"
        ) from error
    try:
        builder.download_and_prepare()
    # A download fails in the ways of networks, archives, disks and missing packages alike.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"The data set {name!r} is not prepared in {where} and could not be downloaded "
            f"({reason}). Prepare it once on a machine with a network (tfds build {name}), copy "
            "its folder here and give the folder above it as the data directory."
        ) from error
    return builder


def split_feature(builder: Any, split: str, feature: str) -> tf.data.Dataset:
    """One feature of a split, in an order that is always the same.

    Args:
        builder: a prepared builder.
        split: as TensorFlow Datasets has it, for example "train", "train+test", "train[:10%]".
        feature: name of the feature.

    Returns:
        A data set of that feature alone.

    Raises:
        UserError: for an unknown split or feature.
    """
    if feature not in builder.info.features:
        known = ", ".join(sorted(builder.info.features))
        raise UserError(
            f"The data set {builder.name!r} has no feature {feature!r}. It has: {known}."
        )
    import tensorflow_datasets as tfds

    # Read once or twice in a run, so a copy in memory would only take room.
    config = tfds.ReadConfig(try_autocache=False)
    try:
        rows = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(
            f"The data set {builder.name!r} has no split {split!r} ({error})."
        ) from error
    return rows.map(lambda row: row[feature])


class TfdsSource:
    """Images of one split of a data set from TensorFlow Datasets; its labels are not read.

    Args:
        name: as TensorFlow Datasets has it.
        split: as TensorFlow Datasets has it; "train+test" joins two.
        data_dir: where prepared data sets lie; None for TensorFlow Datasets' own place.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.

    Raises:
        UserError: for an unknown name or split, data that cannot be had, or that has no images.
    """

    def __init__(
        self, name: str, split: str, data_dir: str | Path | None, image_size: int, fit: Fit
    ) -> None:
        self.image_size = image_size
        self.fit = fit
        builder = prepared_builder(name, data_dir)
        self._images = split_feature(builder, split, _image_feature(builder))
        # A split of unknown length is negative here; counting its rows reads it once more.
        length = int(self._images.cardinality())
        if length < 0:
            length = int(self._images.reduce(np.int64(0), lambda count, _: count + 1))
        self._ids = tfds_ids(name, split, length)

    def __len__(self) -> int:
        return len(self._ids)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every image of the split, in the data set's order."""
        rows = self._images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        try:
            for name, image in zip(self._ids, rows, strict=True):
                yield Decoded(name, resize_image(image, self.image_size, self.fit))
        except tf.errors.OpError as error:
            raise UserError(
                f"The prepared files of {self._ids[0].rsplit('/', 2)[0]!r} are damaged "
                f"({error.message}). Delete its folder and prepare the data set again."
            ) from error


def _image_feature(builder: Any) -> str:
    """Name of the feature that holds the image: "image", or the only one of that kind."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    names = [name for name in features if isinstance(features[name], tfds.features.Image)]
    name = "image" if "image" in names else names[0] if len(names) == 1 else None
    if name is None:
        raise UserError(
            f'The data set {builder.name!r} has no feature "image" and not exactly one image '
            f"feature. It has: {', '.join(sorted(features))}."
        )
    if features[name].np_dtype != np.uint8:
        raise UserError(
            f"The images of {builder.name!r} must be uint8. Received: {features[name].np_dtype}."
        )
    return name

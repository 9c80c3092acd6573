"""Images from TensorFlow Datasets, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spice_keras.data.decoding import resize_image
from spice_keras.data.labels import Labels, values_of
from spice_keras.data.sources import DataSource, Decoded, SkippedFile, SourceOptions
from spice_keras.errors import UserError
from spice_keras.options import Fit

if TYPE_CHECKING:
    import tensorflow as tf


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


class TfdsSource(DataSource):
    """Images of one split of a data set from TensorFlow Datasets.

    The data set is prepared, and perhaps downloaded, when it is first asked for its length, its
    items or its features.

    Args:
        name: as TensorFlow Datasets has it.
        split: as TensorFlow Datasets has it; "train+test" joins two.
        data_dir: where prepared data sets lie; None for TensorFlow Datasets' own place.
        image_size: side S of the images given, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        label_key: name of the feature that holds the class; `check_labels` looks whether it does.

    When it is first used, it raises a UserError for an unknown name or split, data that cannot be
    had, or that has no images.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | Path | None,
        image_size: int,
        fit: Fit,
        label_key: str = "label",
    ) -> None:
        self.name = name
        self.split = split
        self.data_dir = data_dir
        self.image_size = image_size
        self.fit = fit
        self.label_key = label_key

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Take the names; TensorFlow Datasets is asked later."""
        return cls(
            options.path,
            options.split,
            options.data_dir,
            options.image_size,
            options.fit,
            options.label_key,
        )

    @cached_property
    def _builder(self) -> Any:
        return prepared_builder(self.name, self.data_dir)

    @cached_property
    def _images(self) -> tf.data.Dataset:
        return split_feature(self._builder, self.split, _image_feature(self._builder))

    @cached_property
    def _ids(self) -> list[str]:
        # A split of unknown length is negative here; counting its rows reads it once more.
        length = int(self._images.cardinality())
        if length < 0:
            length = int(self._images.reduce(np.int64(0), lambda count, _: count + 1))
        return tfds_ids(self.name, self.split, length)

    def __len__(self) -> int:
        return len(self._ids)

    def count(self) -> None:
        """Say that TensorFlow Datasets must be asked."""
        return None

    def check_labels(self) -> None:
        """Look whether the data set has a feature that holds the class; no label is read.

        Raises:
            UserError: if it has not.
        """
        _class_names(self._builder, self.label_key)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every image of the split, in the data set's order."""
        import tensorflow as tf

        rows = self._images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        try:
            for name, image in zip(self._ids, rows, strict=True):
                yield Decoded(name, resize_image(image, self.image_size, self.fit))
        except tf.errors.OpError as error:
            raise UserError(
                f"The prepared files of {self._ids[0].rsplit('/', 2)[0]!r} are damaged "
                f"({error.message}). Delete its folder and prepare the data set again."
            ) from error

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels:
        """The feature of the split that holds the class.

        Args:
            options: those of `open`; `label_key` names the feature, for example "coarse_label" for
                CIFAR-100-20.
            ids: of the N items wanted, in this order.

        Returns:
            The labels, with -1 where the feature is negative, as it is for images without a class.

        Raises:
            UserError: if the data cannot be had, the feature holds no class, or an id is unknown.
        """
        builder = prepared_builder(options.path, options.data_dir)
        class_names = _class_names(builder, options.label_key)
        rows = split_feature(builder, options.split, options.label_key)
        values = np.array(list(rows.as_numpy_iterator()), np.int64)
        every_id = tfds_ids(options.path, options.split, len(values))
        return Labels(values_of(ids, every_id, values), class_names)


def _class_names(builder: Any, key: str) -> tuple[str, ...]:
    """Names of the classes that a feature holds, or a UserError with the ways on."""
    features = builder.info.features
    names = getattr(features[key], "names", None) if key in features else None
    if names is not None:
        return tuple(names)
    classes = [name for name in sorted(features) if getattr(features[name], "names", None)]
    problem = "is not a class label" if key in features else "does not exist"
    raise UserError(
        f"Labels come from the feature {key!r} of {builder.name!r} (data.label_key), which "
        f"{problem}. The data set has class labels in: {', '.join(classes) or 'no feature'}. "
        "Name one of them (--set data.label_key=NAME), or run without labels (--labels none)."
    )


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

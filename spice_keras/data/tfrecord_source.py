"""Images in TFRecord shards of `tf.train.Example`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spice_keras.data.encoded_source import EncodedImage, EncodedSource
from spice_keras.data.labels import Labels, column_labels
from spice_keras.data.sources import SkippedFile, SourceOptions, one_line_id
from spice_keras.data.tar_source import shard_files
from spice_keras.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

ENDINGS = (".tfrecord", ".tfrecords")
IMAGE_FEATURES = ("image/encoded", "image", "image_raw", "jpg", "png")
ID_FEATURE = "id"
"""Where `spice pack` puts the id of an item."""
# Length of a record (8 bytes) and a checksum of it (4), the record, a checksum of that (4).
_LENGTH = struct.Struct("<Q")
_HEADER, _TRAILER = 12, 4


class TFRecordSource(EncodedSource):
    """Images in uncompressed TFRecord files, an encoded image in each `tf.train.Example`.

    The image is the feature `image/encoded`, `image`, `image_raw`, `jpg` or `png`. An item's id
    is the feature `id`, as `spice pack` writes it, or else the file's name and the number of the
    record.

    Args:
        options: `path` is a file, or a folder of files ending in .tfrecord or .tfrecords, which are
            read in the order of their names; `label_key` is the feature of the class.

    Raises:
        UserError: if there is no such file, or one is damaged or compressed.
    """

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(options.path)
        self._label_key = options.label_key
        self._files = shard_files(self.path, ENDINGS, "TFRecord files")
        offsets = [np.array(list(_records(path)), np.int64).reshape(-1, 2) for path in self._files]
        self._places = np.concatenate(offsets)
        self._firsts = np.cumsum([0, *map(len, offsets)])

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Read the lengths of the records in `options.path`."""
        return cls(options)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, row: int) -> EncodedImage | SkippedFile:
        """Read a record, and take the image out of it."""
        name, example = self._example(row)
        if example is None:
            return SkippedFile(name, "not a tf.train.Example")
        features = example.features.feature
        for key in IMAGE_FEATURES:
            values = features[key].bytes_list.value if key in features else ()
            if values:
                return EncodedImage(name, values[0])
        return SkippedFile(name, f"none of the features {', '.join(IMAGE_FEATURES)} holds bytes")

    def files(self) -> list[Path]:
        """The TFRecord files."""
        return self._files

    def _example(self, row: int) -> tuple[str, tf.train.Example | None]:
        """The id of a record and the record."""
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        number = int(np.searchsorted(self._firsts, row, side="right")) - 1
        path, (start, size) = self._files[number], self._places[row].tolist()
        name = one_line_id(f"{path.name}/{row - int(self._firsts[number]):07d}")
        try:
            with path.open("rb") as file:
                file.seek(start)
                example = tf.train.Example.FromString(file.read(size))
        except (OSError, DecodeError):
            return name, None
        given = example.features.feature[ID_FEATURE].bytes_list.value
        return (one_line_id(given[0].decode("utf-8", "replace")) if given else name), example

    def _label(self, example: tf.train.Example | None) -> Any:
        if example is None or self._label_key not in example.features.feature:
            return ""
        feature = example.features.feature[self._label_key]
        if feature.int64_list.value:
            return str(feature.int64_list.value[0])
        values = feature.bytes_list.value
        return values[0].decode("utf-8", "replace") if values else ""

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels | None:
        """The feature `options.label_key` of the records.

        Args:
            options: those of `open`.
            ids: of the N items wanted, in this order.

        Returns:
            The labels, -1 for a record without the feature; None if no record has it.

        Raises:
            UserError: if an id is unknown.
        """
        source = cls(options)
        examples = (source._example(row) for row in range(len(source)))
        found = [(name, source._label(example)) for name, example in examples]
        if not any(label for _, label in found):
            return None
        names, labels = zip(*found, strict=True)
        return column_labels(np.array(labels), names, ids, source.path)


def _records(path: Path) -> Iterator[tuple[int, int]]:
    """Start and size of the records of a file; no record is read."""
    total, start = path.stat().st_size, 0
    with path.open("rb") as file:
        while start < total:
            file.seek(start)
            header = file.read(_HEADER)
            size = _LENGTH.unpack(header[:8])[0] if len(header) == _HEADER else total
            end = start + _HEADER + size + _TRAILER
            if end > total:
                raise UserError(
                    f"{path} is damaged, compressed or not a TFRecord file: what should be the "
                    f"record at byte {start} does not end in it. Write it again, uncompressed."
                )
            yield start + _HEADER, size
            start = end

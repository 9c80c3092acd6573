"""Image files packed into shards, tar or TFRecord: as they lie there, not decoded."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from spice_keras.data.decoding import FORMATS
from spice_keras.data.encoded_source import EncodedImage, EncodedSource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.list_source import FilesSource
from spice_keras.data.sources import DataSource, SkippedFile, SourceOptions, source_class
from spice_keras.data.tfrecord_source import ID_FEATURE
from spice_keras.errors import UserError
from spice_keras.files import atomic_file
from spice_keras.options import ShardFormat
from spice_keras.shards.folder import Manifest, ShardFolder, shard_name

_ENDINGS = {"JPEG": "jpg", "TIFF": "tif"}


def encoded_source(name: str, options: SourceOptions) -> EncodedSource:
    """Open a source whose items can be read by row as image files.

    Args:
        name: Of `spice_keras.options.SOURCES`.
        options: What it is opened with.

    Returns:
        The source; a folder's in the order of its names.

    Raises:
        UserError: If the data is missing, or of another kind.
    """
    opened: DataSource = source_class(name).open(options)
    if isinstance(opened, FolderSource):
        return FilesSource(options, opened.files())
    if isinstance(opened, EncodedSource):
        return opened
    raise UserError(
        f"The source {name} holds no image files to read one by one. Give a folder of images, a "
        ".txt list of paths, or tar or TFRecord shards."
    )


def pack(
    source: EncodedSource,
    out: Path,
    *,
    kind: ShardFormat,
    rows_per_shard: int,
    with_labels: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Manifest, list[SkippedFile]]:
    """Pack a source into shards. Shards that are there already are not written again.

    Args:
        source: The images.
        out: The folder of the shards; made if it does not exist.
        kind: "tar" (WebDataset's layout) or "tfrecord".
        rows_per_shard: Items of a shard, those that are not images included; at least 1.
        with_labels: Whether each item's class, the first folder of its id, is written beside it.
        advance: Is told how many items were done.

    Returns:
        The manifest; and the items left out, of the shards written now.

    Raises:
        UserError: If the folder holds something else, an item has no class, or the source changed
            meanwhile.
    """
    signature = source.signature()
    facts = {
        "kind": f"images, {kind}",
        "items": len(source),
        "rows_per_shard": rows_per_shard,
        "with_labels": with_labels,
        "source": signature,
    }
    folder = ShardFolder(out, facts, math.ceil(len(source) / rows_per_shard))
    skipped: list[SkippedFile] = []
    for number in folder.missing():
        first = number * rows_per_shard
        rows = slice(first, min(first + rows_per_shard, len(source)))
        name = f"{shard_name(number)}.{kind}"
        items = [_checked(item) for item in source.encoded(rows)]
        skipped += [item for item in items if isinstance(item, SkippedFile)]
        found = [item for item in items if isinstance(item, EncodedImage)]
        write = _write_tar if kind == "tar" else _write_tfrecord
        with atomic_file(out / name) as file:
            write(file, found, with_labels)
        folder.commit(number, len(found), [name])
        advance(rows.stop - rows.start)
    refuse_changed(source, signature)
    manifest = folder.finish()
    if manifest is None:  # somebody removed a shard meanwhile
        raise UserError(f"Shards of {out} disappeared. The same command writes them again.")
    return manifest, skipped


def refuse_changed(source: EncodedSource, signature: str) -> None:
    """Refuse a source that is not what it was when one began to read it.

    Args:
        source: The source.
        signature: What `source.signature()` said at the beginning.

    Raises:
        UserError: If a file was written or removed since.
    """
    if source.signature() != signature:
        raise UserError(
            "The data changed while it was read: a file was written or removed. What was made of "
            "it is incomplete. Wait until nothing writes there, and begin again in another folder."
        )


def _checked(item: EncodedImage | SkippedFile) -> EncodedImage | SkippedFile:
    """Refuse what does not begin like an image; nothing is decoded."""
    if isinstance(item, SkippedFile):
        return item
    try:
        _ending(item.data)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return SkippedFile(item.id, f"not an image: {' '.join(str(error).split())}")
    return item


def _ending(data: bytes) -> str:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        kind = str(image.format)
    return _ENDINGS.get(kind, kind.lower())


def _class_of(name: str) -> str:
    folder, separator, _ = name.partition("/")
    if not separator:
        raise UserError(
            f"{name} lies in no sub-folder, so it has no class. Leave --labels out, or give images "
            "in a sub-folder for each class."
        )
    return folder


def _write_tar(file: BinaryIO, items: Sequence[EncodedImage], with_labels: bool) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for item, key in zip(items, _keys(items), strict=True):
            members = [(f"{key}.{_ending(item.data)}", item.data)]
            if with_labels:
                members.append((f"{key}.cls", _class_of(item.id).encode()))
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _keys(items: Sequence[EncodedImage]) -> list[str]:
    """A name for each item, without its ending: what follows a dot is one to WebDataset."""
    keys: dict[str, None] = {}
    for item in items:
        folder, slash, file = item.id.rpartition("/")
        stem, whole = (text.replace(".", "_") for text in (file.rpartition(".")[0] or file, file))
        key = folder + slash + stem
        if key in keys:  # x.jpg and x.png
            key = folder + slash + whole
        while key in keys:
            key += "_"
        keys[key] = None
    return list(keys)


def _write_tfrecord(file: BinaryIO, items: Sequence[EncodedImage], with_labels: bool) -> None:
    import tensorflow as tf

    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tf.io.TFRecordWriter(str(file.name)) as writer:
        for item in items:
            features = {"image/encoded": feature(item.data), ID_FEATURE: feature(item.id.encode())}
            if with_labels:
                features["label"] = feature(_class_of(item.id).encode())
            example = tf.train.Example(features=tf.train.Features(feature=features))
            # Else the features of an example stand in another order in each process.
            writer.write(example.SerializeToString(deterministic=True))
    file.seek(0, io.SEEK_END)

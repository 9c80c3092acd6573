"""Lists, tar and TFRecord shards: what is packed comes out again, from each kind the same."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import fsspec
import numpy as np
import pytest
from PIL import Image

from spice_keras.config.shortcuts import source_overrides
from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.list_source import ListSource
from spice_keras.data.packing import encoded_source, pack
from spice_keras.data.sources import Decoded, ImageSource, SkippedFile, SourceOptions
from spice_keras.data.tar_source import TarSource
from spice_keras.data.tfrecord_source import TFRecordSource
from spice_keras.errors import UserError
from spice_keras.options import ShardFormat
from spice_keras.shards.folder import read_manifest

_NAMES = ("cats/1.png", "cats/2.x.jpg", "cats/1.bmp", "dogs/a b.png", "dogs/\u00e9.png")
_SOURCES: dict[str, type[EncodedSource]] = {"tar": TarSource, "tfrecord": TFRecordSource}
every_format = pytest.mark.parametrize("kind", get_args(ShardFormat))


def _options(path: Path, **more: str) -> SourceOptions:
    return SourceOptions(path=str(path), image_size=8, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images in two folders, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name in _NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (9, 12, 3), np.uint8)).save(folder / name)
    (folder / "dogs" / "broken.png").write_text("no image")
    return folder


def _pixels(source: ImageSource) -> list[bytes]:
    return [item.image.tobytes() for item in source.items() if isinstance(item, Decoded)]


def _packed(photos: Path, out: Path, kind: ShardFormat, *, labels: bool = True) -> Path:
    source = encoded_source("folder", _options(photos))
    pack(source, out, kind=kind, rows_per_shard=2, with_labels=labels)
    return out


@every_format
def test_what_is_packed_comes_out_again(photos: Path, tmp_path: Path, kind: ShardFormat) -> None:
    source = encoded_source("folder", _options(photos))
    manifest, skipped = pack(
        source, tmp_path / "out", kind=kind, rows_per_shard=2, with_labels=True
    )
    assert manifest.rows == 5
    assert [shard.rows for shard in manifest.shards] == [2, 2, 1]
    assert [(item.path, item.reason[:12]) for item in skipped] == [
        ("dogs/broken.png", "not an image")
    ]
    assert source_overrides(str(tmp_path / "out"))["data.source"] == kind
    found = _SOURCES[kind].open(_options(tmp_path / "out"))
    assert len(found) == 5
    assert _pixels(found) == _pixels(FolderSource(photos, 8, "crop", 10**6))
    ids = [item.id for item in found.items() if isinstance(item, Decoded)]
    assert len(set(ids)) == 5
    assert {name.split("/")[0] for name in ids} == {"cats", "dogs"}
    labels = found.read_labels(_options(tmp_path / "out"), ids[::-1])
    assert labels is not None
    assert labels.class_names == ("cats", "dogs")
    assert labels.values.tolist() == [1, 1, 0, 0, 0]
    one = _SOURCES[kind].open(_options(tmp_path / "out" / f"shard-000000.{kind}"))
    assert _pixels(one) == _pixels(found)[:2]


@every_format
def test_without_labels_there_are_none(photos: Path, tmp_path: Path, kind: ShardFormat) -> None:
    out = _packed(photos, tmp_path / "out", kind, labels=False)
    found = _SOURCES[kind].open(_options(out))
    ids = [item.id for item in found.items() if isinstance(item, Decoded)]
    assert found.read_labels(_options(out), ids) is None


@every_format
def test_packing_goes_on_where_it_stopped(
    photos: Path, tmp_path: Path, kind: ShardFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = encoded_source("folder", _options(photos))
    read = source.read

    def stopping(row: int) -> object:
        if row == 3:
            raise KeyboardInterrupt
        return read(row)

    monkeypatch.setattr(source, "read", stopping)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", kind=kind, rows_per_shard=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "facts.json", "shard-000000.json", f"shard-000000.{kind}",
    ]  # fmt: skip
    before = (tmp_path / "out" / f"shard-000000.{kind}").stat().st_mtime_ns
    monkeypatch.setattr(source, "read", read)
    pack(source, tmp_path / "out", kind=kind, rows_per_shard=2)
    assert (tmp_path / "out" / f"shard-000000.{kind}").stat().st_mtime_ns == before
    straight = _packed(photos, tmp_path / "straight", kind, labels=False)
    assert read_manifest(tmp_path / "out").shards == read_manifest(straight).shards


def test_records_name_their_features_in_one_order(photos: Path, tmp_path: Path) -> None:
    """Protobuf writes a map in an order that each process draws anew, unless asked not to."""
    out = _packed(photos, tmp_path / "out", "tfrecord")
    records = b"".join(path.read_bytes() for path in sorted(out.glob("*.tfrecord")))
    names = re.findall(rb"image/encoded\x12|\x02id\x12|\x05label\x12", records)
    assert len(names) >= 6
    assert names[:3] == sorted(names[:3], key=lambda name: name.lstrip(b"\x02\x05"))
    assert names == names[:3] * (len(names) // 3)


def test_a_source_that_changes_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = encoded_source("folder", _options(photos))
    stamps = iter("ab")
    monkeypatch.setattr(source, "signature", lambda: next(stamps))
    with pytest.raises(UserError, match="changed while it was read"):
        pack(source, tmp_path / "out", kind="tar", rows_per_shard=2)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_signature_tells_a_change(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\nmissing.png\n")

    def signature() -> str:
        return ListSource.open(_options(tmp_path / "list.txt")).signature()

    before = signature()
    assert signature() == before
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    assert signature() != before


def test_a_class_needs_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    source = encoded_source("folder", _options(tmp_path))
    with pytest.raises(UserError, match=r"a\.png lies in no sub-folder"):
        pack(source, tmp_path / "out", kind="tar", rows_per_shard=2, with_labels=True)


def test_what_has_no_files_cannot_be_packed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(UserError, match="holds no image files"):
        encoded_source("arrays", _options(tmp_path / "x.npy"))


def test_a_list_names_files_addresses_and_classes(photos: Path, tmp_path: Path) -> None:
    data = (photos / "cats/1.png").read_bytes()
    with fsspec.open("memory://bucket/far.png", "wb") as file:
        file.write(data)
    lines = ["", "cats/1.png\tcat", "gone.png\tdog", "memory://bucket/far.png\tcat", "nix://x"]
    (photos / "list.txt").write_text("\r\n".join([*lines, str(photos / "dogs/a b.png")]))
    try:
        source = ListSource.open(_options(photos / "list.txt"))
        items = list(source.items())
        labels = source.read_labels(_options(photos / "list.txt"), ["cats/1.png", "nix://x"])
    finally:
        (photos / "list.txt").unlink()
    assert [type(item) for item in items] == [Decoded, SkippedFile, Decoded, SkippedFile, Decoded]
    first, _, far, *_ = items
    assert isinstance(first, Decoded)
    assert isinstance(far, Decoded)
    np.testing.assert_array_equal(first.image, far.image)
    assert (first.id, far.id) == ("cats/1.png", "memory://bucket/far.png")
    assert labels is not None
    assert labels.class_names == ("cat", "dog")
    assert labels.values.tolist() == [0, -1]


def test_a_list_without_classes_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a.png\n")
    assert ListSource.read_labels(_options(tmp_path / "x.txt"), ["a.png"]) is None
    assert source_overrides(str(tmp_path / "x.txt"))["data.source"] == "list"


def test_rows_are_read_from_the_middle(photos: Path) -> None:
    source = encoded_source("folder", _options(photos))
    every = list(source.items())
    some = list(source.items(slice(1, 4)))
    assert [type(item) for item in some] == [type(item) for item in every[1:4]]
    assert [getattr(item, "id", "") for item in some] == [
        getattr(item, "id", "") for item in every[1:4]
    ]


def _tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_tar_shard_as_others_write_it(photos: Path, tmp_path: Path) -> None:
    data = (photos / "cats/1.png").read_bytes()
    _tar(tmp_path / "a.tar", ("./7.cls", b"3\n"), ("./7.json", b"{}"), ("./7.PNG", data))
    _tar(tmp_path / "b.tar", ("7.png", data), ("8.png", data[:30]), ("x/.hidden", b""))
    source = TarSource.open(_options(tmp_path))
    found = list(source.items())
    ids = [item.id if isinstance(item, Decoded) else item.path for item in found]
    assert ids == ["7", "b.tar/7", "b.tar/8"]
    assert isinstance(found[2], SkippedFile)
    labels = source.read_labels(_options(tmp_path), ids)
    assert labels is not None
    assert labels.values.tolist() == [0, -1, -1]
    assert labels.class_names == ("3",)


def test_foreign_records_have_numbers_and_labels_of_any_name(photos: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    data = (photos / "cats/1.png").read_bytes()
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        for value in (data, b""):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
                "kind": tf.train.Feature(int64_list=tf.train.Int64List(value=[5])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
        writer.write(b"\xff\xff\xff")
    options = _options(tmp_path / "a.tfrecord", label_key="kind")
    source = TFRecordSource.open(options)
    found = list(source.items())
    assert isinstance(found[0], Decoded)
    assert [item.reason for item in found[1:] if isinstance(item, SkippedFile)] == [
        "empty: 0 bytes", "not a tf.train.Example",
    ]  # fmt: skip
    assert found[0].id == "a.tfrecord/0000000"
    labels = source.read_labels(options, [found[0].id])
    assert labels is not None
    assert labels.class_names == ("5",)


def _broken(folder: Path, kind: str) -> Path:
    path = folder / kind.replace(" ", "_")
    match kind:
        case "compressed.tar":
            with tarfile.open(path, "w:gz") as archive:
                archive.addfile(tarfile.TarInfo("x.png"))
        case "twice.tar":
            return _tar(path, ("a.png", b"1"), ("a.jpg", b"2"))
        case "no image.tar":
            return _tar(path, ("a.json", b"{}"))
        case "binary.txt":
            path.write_bytes(b"\xff\xfe\x00")
        case "empty.txt":
            path.write_text("\n\n")
        case "twice.txt":
            path.write_text("a.png\nb.png\na.png\n")
        case "damaged.tfrecord":
            path.write_bytes(b"not a record at all")
        case "empty folder":
            path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "opened", "message"),
    [
        ("compressed.tar", TarSource.open, "uncompressed tar archive"),
        ("twice.tar", TarSource.open, "two files of one kind for the item a"),
        ("no image.tar", TarSource.open, "holds no image"),
        ("empty folder", TarSource.open, r"no tar archives \(\.tar\)"),
        ("nowhere", TarSource.open, "no file or folder"),
        ("binary.txt", ListSource.open, "UTF-8"),
        ("empty.txt", ListSource.open, "lists no image"),
        ("twice.txt", ListSource.open, "lists a.png 2 times"),
        ("nowhere.txt", ListSource.open, "There is no file"),
        ("damaged.tfrecord", TFRecordSource.open, "record at byte 0 does not end in it"),
    ],
)
def test_data_of_another_kind_is_refused(
    tmp_path: Path, kind: str, opened: Callable[[SourceOptions], object], message: str
) -> None:
    path = _broken(tmp_path, kind)
    with pytest.raises(UserError, match=message):
        opened(_options(path))

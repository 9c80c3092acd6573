"""Images into the run directory: all or nothing, with every file that was left out."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from spice_keras.config import load_config
from spice_keras.config.protocol import PartCounts
from spice_keras.data.array_source import ArraySource
from spice_keras.data.digits_source import DigitsSource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.labels import Labels, named_labels
from spice_keras.data.sources import DataSource, Decoded, SkippedFile, SourceOptions
from spice_keras.data.tfds_source import TfdsSource
from spice_keras.errors import UserError
from spice_keras.options import SOURCES, SourceKind
from spice_keras.progress import Loudness, Screen
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.sources import count_sources, open_sources
from spice_keras.shards.embeddings import write_embeddings
from spice_keras.shards.folder import ShardFolder
from spice_keras.stages import ingest as ingest_module
from spice_keras.stages.ingest import ingest
from spice_keras.stages.labels import read_labels
from tests.stages.made_run import said

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds


def _context(path: Path, **options: Any) -> Context:
    overrides = {
        "num_clusters": 2,
        "data.source": "folder",
        "data.path": str(path / "photos"),
        "data.image_size": 8,
        "pretrain.batch_size": None,
        "pretrain.queue_size": None,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    config = load_config(overrides=overrides)
    console = Console(file=io.StringIO(), soft_wrap=True, highlight=False)
    run = RunDirectory.create(path / "run", config.as_dict())
    return Context(config, run, Screen(Loudness.NORMAL, console))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(9):
        Image.new("RGB", (9, 8), (number,) * 3).save(folder / f"{number}.png")
    return folder


def test_pixels_names_and_the_arithmetic_are_written(tmp_path: Path, photos: Path) -> None:
    context = _context(tmp_path)
    ingest(context)
    assert context.images[:, 0, 0, 0].tolist() == list(range(9))
    assert context.ids == [f"{number}.png" for number in range(9)]
    assert context.skipped == []
    plan = json.loads((context.run.path / "plan.json").read_text())
    assert plan == context.plan.as_dict()
    assert (context.run.path / "skipped.csv").read_text() == "path,reason\n"
    for note in context.plan.notes:
        assert f"Note: {note}\n" in said(context)


def test_a_bad_file_is_skipped_and_listed(tmp_path: Path, photos: Path) -> None:
    (photos / "x,y.png").write_text("no image")
    context = _context(tmp_path)
    ingest(context)
    assert len(context.images) == 9
    with (context.run.path / "skipped.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["path", "reason"], list(context.skipped[0])]
    assert context.skipped[0][0] == "x,y.png"
    assert "Note: 1 of 10 files were skipped; " in said(context)
    assert "skipped.csv lists them" in said(context)


def test_too_many_bad_files_are_refused_and_listed(tmp_path: Path, photos: Path) -> None:
    for number in range(3):
        (photos / f"bad{number}.png").write_text("no image")
    context = _context(tmp_path)
    with pytest.raises(UserError, match="3 of 12 items gave no image; at most 2 may"):
        ingest(context)
    assert not context.run.has("images")
    assert not list((context.run.path / "artifacts").iterdir())
    assert len((context.run.path / "skipped.csv").read_text().splitlines()) == 4


def test_too_few_readable_images_are_refused(tmp_path: Path, photos: Path) -> None:
    """The count before decoding was enough; that of the readable ones is not."""
    (photos / "bad.png").write_text("no image")
    context = _context(tmp_path, num_clusters=10)
    with pytest.raises(UserError, match="10 clusters of 9 images"):
        ingest(context)
    assert not list((context.run.path / "artifacts").iterdir())


def test_every_source_is_opened_as_it_is_configured(tmp_path: Path, photos: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.uint8))
    array = str(tmp_path / "x.npy")
    cases: list[tuple[dict[str, Any], type]] = [
        ({"data.source": "digits"}, DigitsSource),
        ({"data.source": "folder", "data.path": str(photos)}, FolderSource),
        ({"data.source": "arrays", "data.path": array}, ArraySource),
        ({"data.source": "tfds", "data.path": "cifar10"}, TfdsSource),
    ]
    for overrides, kind in cases:
        data = load_config(overrides={**overrides, "data.image_size": 24}).data
        (source,) = open_sources(data).values()
        assert type(source) is kind
        assert source.image_size == 24


def test_tensorflow_datasets_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(TfdsSource, "__init__", lambda self, *args: asked.append(args))
    overrides = {"data.source": "tfds", "data.path": "cifar10", "data.split": "train+test"}
    open_sources(load_config(overrides=overrides).data)
    assert asked == [("cifar10", "train+test", None, 32, "crop", "label")]


class _Squares(DataSource):
    """Grey squares of a few levels, as somebody's own source; the file names their number."""

    def __init__(self, path: Path, image_size: int) -> None:
        self.image_size = image_size
        self._count = int(path.read_text())

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        return cls(Path(options.path), options.image_size)

    def __len__(self) -> int:
        return self._count

    def items(self) -> Iterator[Decoded | SkippedFile]:
        shape = (self.image_size, self.image_size, 3)
        for row in range(self._count):
            yield Decoded(f"square {row}", np.full(shape, 10 * row, np.uint8))

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels:
        return named_labels(np.array([int(name.split()[1]) % 3 - 1 for name in ids]))


def test_a_source_is_one_class_and_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "squares", SourceKind(f"{__name__}:_Squares"))
    for name, count in {"train": 12, "test": 4}.items():
        (tmp_path / name).write_text(str(count))
    context = _context(
        tmp_path,
        data__source="squares",
        data__path=str(tmp_path / "train"),
        data__test_path=str(tmp_path / "test"),
        data__protocol="split",
    )
    assert count_sources(context.config.data) == PartCounts(12, 4)
    ingest(context)
    assert context.images[:, 0, 0, 0].tolist() == [10 * row for row in range(12)]
    assert context.ids[11] == "train/square 11"
    test, train = context.reported_parts
    assert test.ids == [f"test/square {row}" for row in range(4)]
    labels = read_labels(train)
    assert labels is not None
    assert labels.class_names == ("0", "1")
    assert labels.values.tolist() == [-1, 0, 1] * 4


@pytest.mark.parametrize("labels", ["source", "none"])
def test_a_data_set_without_classes_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: str
) -> None:
    decoded: list[str] = []
    items = TfdsSource.items

    def counted(source: TfdsSource) -> Iterator[Decoded | SkippedFile]:
        for item in items(source):
            decoded.append("one")
            yield item

    monkeypatch.setattr(TfdsSource, "items", counted)
    with tfds.testing.mock_data(num_examples=9):
        context = _context(
            tmp_path,
            data__source="tfds",
            data__path="cifar10",
            data__tfds_dir=str(tmp_path),
            data__label_key="kind",
            data__labels=labels,
        )
        if labels == "none":
            ingest(context)
            assert len(context.images) == len(decoded) == 9
            return
        with pytest.raises(UserError, match=r"data\.label_key.*--labels none"):
            ingest(context)
    assert decoded == []
    assert not context.run.has("images")


@pytest.mark.parametrize("sample", [None, 30])
def test_many_embeddings_are_spoken_of_unless_a_sample_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None
) -> None:
    shards = ShardFolder(tmp_path / "photos", {"kind": "embeddings", "dim": 4}, 1)
    rows = np.random.default_rng(0).normal(size=(40, 4))
    write_embeddings(shards, 0, [str(row) for row in range(40)], rows)
    shards.finish()
    monkeypatch.setattr(ingest_module, "_LARGE", 40 * 4 * 4)
    context = _context(
        tmp_path, data__source="embeddings", data__sample=sample, semi__enabled=False
    )
    ingest(context)
    assert ("--sample 200000 trains heads" in said(context)) == (sample is None)

"""Images into the run directory: all or nothing, with every file that was left out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from spice_keras.config import load_config
from spice_keras.data.array_source import ArraySource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.sources import DigitsSource
from spice_keras.data.tfds_source import TfdsSource
from spice_keras.errors import UserError
from spice_keras.progress import Loudness, Screen
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.stages.ingest import image_source, ingest
from tests.stages.made_run import said


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


def test_every_source_has_its_reader(tmp_path: Path, photos: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.uint8))
    array = str(tmp_path / "x.npy")
    cases: list[tuple[dict[str, Any], type]] = [
        ({"data.source": "digits"}, DigitsSource),
        ({"data.source": "folder", "data.path": str(photos)}, FolderSource),
        ({"data.source": "arrays", "data.path": array}, ArraySource),
    ]
    for overrides, kind in cases:
        data = load_config(overrides={**overrides, "data.image_size": 24}).data
        source = image_source(data)
        assert type(source) is kind
        assert source.image_size == 24


def test_tensorflow_datasets_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(TfdsSource, "__init__", lambda self, *args: asked.append(args))
    overrides = {"data.source": "tfds", "data.path": "cifar10", "data.split": "train+test"}
    image_source(load_config(overrides=overrides).data)
    assert asked == [("cifar10", "train+test", None, 32, "crop")]

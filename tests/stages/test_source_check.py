"""A source that changed after a run was made of it is found, and the difference is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.stages import source_check
from spice_keras.stages.ingest import ingest
from spice_keras.stages.source_check import compare_items, note_source, refuse_changed_source

_COUNT, _RUN = 8, ("pretrain", "self")
Change = Callable[[Path], object]


def _images(seed: int = 0, count: int = _COUNT) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)


def _context(folder: Path, source: str, path: Path) -> Context:
    overrides = {
        "data.source": source, "data.path": str(path), "num_clusters": 2, "data.image_size": 8,
        "pretrain.batch_size": None, "pretrain.queue_size": None, "reliable.num_neighbors": 3,
    }  # fmt: skip
    config = load_config(overrides=overrides)
    context = Context(config, RunDirectory.create(folder / "run", config.as_dict()))
    ingest(context)
    note_source(context)
    return Context(config, context.run)


@pytest.fixture
def arrays(tmp_path: Path) -> Context:
    np.savez(tmp_path / "images.npz", images=_images())
    return _context(tmp_path, "arrays", tmp_path / "images.npz")


@pytest.fixture
def photos(tmp_path: Path) -> Context:
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(_images()):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return _context(tmp_path, "folder", tmp_path / "photos")


def _save(images: np.ndarray, **more: np.ndarray) -> Change:
    def change(folder: Path) -> None:
        np.savez(folder / "images.npz", images=images, **more)  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_save(_images()[::-1]), r"same items in another order, 8 of 8 in another place"),
        (_save(_images()[:-2]), "2 items gone: 0000006, 0000007"),
        (_save(np.concatenate([_images(), _images(1, 1)])), "1 item added: 0000008"),
        (
            _save(np.concatenate([_images()[:3], _images(1, 5)])),
            r"5 items changed: 0000003, 0000004, 0000005, ",
        ),
    ],
)
def test_another_array_is_refused_with_the_difference(
    arrays: Context, tmp_path: Path, change: Change, message: str
) -> None:
    change(tmp_path)
    with pytest.raises(UserError, match=rf"images\.npz is not what .*{message}.*--run-dir"):
        refuse_changed_source(arrays, _RUN)


def test_labels_that_are_added_later_are_no_difference(arrays: Context, tmp_path: Path) -> None:
    _save(_images(), labels=np.zeros(_COUNT, int))(tmp_path)
    refuse_changed_source(arrays, _RUN)


def _replace(folder: Path) -> None:
    Image.fromarray(_images(3)[0]).save(folder / "photos" / "4.png")


def _add(folder: Path) -> None:
    Image.fromarray(_images(3)[0]).save(folder / "photos" / "new.png")


def _remove(folder: Path) -> None:
    (folder / "photos" / "4.png").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [(_replace, r"1 item changed: 4\.png"), (_add, r"added: new\.png"), (_remove, r"gone: 4\.png")],
)
def test_a_folder_that_changed_is_refused(
    photos: Context, tmp_path: Path, change: Change, message: str
) -> None:
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        refuse_changed_source(photos, _RUN)


def test_only_what_looks_different_is_read_again(
    photos: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    real = source_check._differences
    monkeypatch.setattr(
        source_check, "_differences", lambda context: compared.append(1) or real(context)
    )
    refuse_changed_source(photos, _RUN)
    assert compared == []
    os.utime(tmp_path / "photos" / "4.png", (1, 1))
    refuse_changed_source(photos, _RUN)
    refuse_changed_source(photos, _RUN)
    assert compared == [1], "once it was equal, it is known"


def test_who_reads_nothing_of_the_source_is_not_refused(photos: Context, tmp_path: Path) -> None:
    base = photos.config.as_dict()
    config = load_config(base=base, overrides={"data.labels": "from-folders"})
    labelled = Context(config, photos.run)
    _add(tmp_path)
    refuse_changed_source(labelled, ("eval",))  # the items the run has are as they were
    _replace(tmp_path)
    refuse_changed_source(labelled, ("export",))
    refuse_changed_source(photos, ("eval",))
    with pytest.raises(UserError, match="--labels none"):
        refuse_changed_source(labelled, ("eval",))


def test_the_programs_own_output_is_not_part_of_the_source(photos: Context, tmp_path: Path) -> None:
    figures = tmp_path / "photos" / "runs" / "photos" / "figures"
    figures.mkdir(parents=True)
    for name in ("config.yaml", "environment.json"):
        (figures.parent / name).write_text("")
    model = tmp_path / "photos" / "saved_models" / "photos" / "1"
    model.mkdir(parents=True)
    (model / "saved_model.pb").write_text("")
    for folder in (figures, model):
        Image.fromarray(_images(3)[0]).save(folder / "sizes.png")
    assert source_check._differences(photos) == []


def test_a_source_that_is_gone_is_no_obstacle(arrays: Context, tmp_path: Path) -> None:
    (tmp_path / "images.npz").unlink()
    refuse_changed_source(arrays, _RUN)


def test_a_name_that_changed_is_told() -> None:
    assert compare_items(["a", "b"], [b"1", b"2"], ["a", "c"], [b"1", b"2"]) == [
        "1 item gone: b",
        "1 item added: c",
    ]

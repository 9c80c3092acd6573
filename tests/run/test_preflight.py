"""What is refused before anything heavy is imported, and the arithmetic that is printed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.config import RunConfig, load_config
from spice_keras.config.protocol import PartCounts
from spice_keras.data.sources import DigitsSource
from spice_keras.errors import UserError
from spice_keras.run.preflight import count_items, describe_plan, preflight


def _config(**options: Any) -> RunConfig:
    overrides = {
        "num_clusters": 3,
        "pretrain.batch_size": None,
        "pretrain.queue_size": None,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    return load_config(overrides=overrides)


def test_the_digits_are_counted_without_being_loaded() -> None:
    assert count_items(_config()) == PartCounts(len(DigitsSource(8)))


def test_a_missing_faiss_is_said_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert preflight(_config()) is not None
    with pytest.raises(UserError, match=r"pip install 'spice-keras\[faiss\]'"):
        preflight(_config(embed__neighbor_search="approximate"))


def test_files_and_rows_are_counted_and_nothing_is_decoded(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b.txt", ".hidden"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text("no image")
    np.save(tmp_path / "x.npy", np.zeros((7, 4, 4), np.uint8))
    folder = _config(data__source="folder", data__path=str(tmp_path / "photos"))
    arrays = _config(data__source="arrays", data__path=str(tmp_path / "x.npy"))
    assert count_items(folder) == PartCounts(3)
    assert count_items(arrays) == PartCounts(7)
    plan = preflight(arrays)
    assert plan is not None
    assert plan.num_images == 7


def test_tensorflow_datasets_must_be_asked_later() -> None:
    config = _config(data__source="tfds", data__path="cifar10")
    assert count_items(config) is None
    assert preflight(config) is None


@pytest.mark.parametrize("source", ["folder", "arrays"])
def test_a_missing_source_is_refused(tmp_path: Path, source: str) -> None:
    config = _config(data__source=source, data__path=str(tmp_path / "gone"))
    with pytest.raises(UserError, match="gone"):
        preflight(config)


def test_more_clusters_than_images_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
    config = _config(data__source="arrays", data__path=str(tmp_path / "x.npy"))
    with pytest.raises(UserError, match="num_clusters: 3 clusters of 2 images"):
        preflight(config)


def test_the_arithmetic_in_lines() -> None:
    plan = preflight(load_config("digits"))
    assert plan is not None
    assert describe_plan(plan)[:6] == [
        "items       1797 (1.3 MiB decoded), 10 clusters",
        "pretrain    90 epochs x 14 batches of 128 = 1260 steps, queue 1024",
        "self        20 epochs x 1 iterations, M = 1797; 89 confident and 179 labelled images for "
        "each cluster",
        "            1790 pseudo-labels per iteration, 104 head steps with batches of 128",
        "reliable    n_s = 50 neighbours",
        "semi        700 steps, 32 labelled and 128 unlabelled images each (the latter twice)",
    ]


def test_adaptations_are_among_the_lines(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((60, 4, 4), np.uint8))
    plan = preflight(_config(data__source="arrays", data__path=str(tmp_path / "x.npy")))
    assert plan is not None
    lines = [line for line in describe_plan(plan) if line.startswith("note ")]
    assert [line.removeprefix("note        ") for line in lines] == list(plan.notes)
    assert len(lines) >= 3

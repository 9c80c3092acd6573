"""What is refused before anything heavy is imported, and the arithmetic that is printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras import pipeline
from spice_keras.config import RunConfig, load_config
from spice_keras.config.protocol import PartCounts
from spice_keras.data import folder_source
from spice_keras.data.digits_source import DigitsSource
from spice_keras.data.sources import Decoded
from spice_keras.errors import UserError
from spice_keras.run import preflight as preflight_module
from spice_keras.run.estimate import stage_seconds
from spice_keras.run.history import STAGES
from spice_keras.run.preflight import check_words, describe_plan, describe_run, preflight
from spice_keras.run.sources import count_sources, take_sources
from spice_keras.words.vocabulary import Vocabulary
from tests.integration.tiny import invoke


def _config(**options: Any) -> RunConfig:
    overrides = {
        "num_clusters": 3,
        "pretrain.batch_size": None,
        "pretrain.queue_size": None,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    return load_config(overrides=overrides)


def test_the_digits_are_counted_without_being_loaded() -> None:
    given = [item for item in DigitsSource(8).items() if isinstance(item, Decoded)]
    assert count_sources(_config().data) == PartCounts(len(given))


def test_files_and_rows_are_counted_and_nothing_is_decoded(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b", "a/1.json", ".hidden"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text("no image")
    np.save(tmp_path / "x.npy", np.zeros((7, 4, 4), np.uint8))
    folder = _config(data__source="folder", data__path=str(tmp_path / "photos"))
    arrays = _config(data__source="arrays", data__path=str(tmp_path / "x.npy"))
    assert count_sources(folder.data) == PartCounts(3)
    assert count_sources(arrays.data) == PartCounts(7)
    plan = preflight(arrays)
    assert plan is not None
    assert plan.num_images == 7


def _listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed from now on."""
    listed: list[str] = []
    scandir = os.scandir

    def listing(path: Path) -> Any:
        listed.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(folder_source.os, "scandir", listing)
    return listed


def test_a_folder_is_walked_once_to_be_counted_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("photos/a/1.png", "photos/2.png", "photos/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    config = _config(data__source="folder", data__path=str(tmp_path / "photos"))
    listed = _listed(monkeypatch)
    assert preflight(config) is not None
    assert len(take_sources(config.data)["train"]) == 3
    assert listed == ["photos", "a"]


def test_the_command_hands_on_what_it_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number}.png").touch()

    def read_alone(config: RunConfig, run_dir: Path, **options: Any) -> None:
        read.append(len(take_sources(config.data)["train"]))
        raise UserError("enough")

    read: list[int] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "run_all", read_alone)
    listed = _listed(monkeypatch)
    result = invoke("run", "--images", "photos", "--clusters", "2")
    assert "enough" in result.stderr
    assert read == [20]
    assert listed.count("photos") == 2  # a look at its first names, then all of them


def test_whoever_reads_once_more_sees_what_lies_there_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").touch()
    config = _config(data__source="folder", data__path=str(tmp_path / "photos"))
    preflight(config)
    (tmp_path / "photos" / "new.png").touch()
    same_words = _config(data__source="folder", data__path=str(tmp_path / "photos"))
    assert len(take_sources(same_words.data)["train"]) == 4
    preflight(config)
    take_sources(config.data)
    (tmp_path / "photos" / "newer.png").touch()
    assert len(take_sources(config.data)["train"]) == 5


def test_tensorflow_datasets_must_be_asked_later() -> None:
    config = _config(data__source="tfds", data__path="cifar10")
    assert count_sources(config.data) is None
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


def test_a_run_is_told_in_ten_lines_of_eighty_characters(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(600):
        (tmp_path / "photos" / f"{number}.jpg").touch()
        (tmp_path / "photos" / f"{number}.json").touch()
    overrides = {"data.path": str(tmp_path / "photos"), "num_clusters": 3}
    config = load_config("pretrained", overrides=overrides)
    plan = preflight(config)
    assert plan is not None
    every = {stage.name for stage in STAGES}
    lines = describe_run(config, plan, every)
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines] == [
        "images", "embed", "self", "reliable", "eval", "export", "time",
    ]  # fmt: skip
    assert "600 decoded to 224 x 224 pixels" in lines[0]
    assert lines[0].endswith("0:01")
    assert [line.split()[0] for line in describe_run(config, plan, {"eval"})] == ["eval", "time"]


def test_a_run_that_trains_an_encoder_is_timed_by_its_first_steps() -> None:
    config = load_config("digits")
    plan = preflight(config)
    assert plan is not None
    assert stage_seconds(config, plan) is None
    lines = describe_run(config, plan, {stage.name for stage in STAGES})
    assert {"pretrain", "semi"} <= {line.split()[0] for line in lines}
    assert "first steps" in lines[-1]


def test_the_time_follows_pixels_images_and_the_machine(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(100):
        (tmp_path / "photos" / f"{number}.jpg").touch()
    overrides = {"data.path": str(tmp_path / "photos"), "num_clusters": 3}
    config = load_config("pretrained", overrides=overrides)
    plan = preflight(config)
    assert plan is not None
    usual = stage_seconds(config, plan)
    small = load_config("pretrained", overrides=overrides | {"data.image_size": 112})
    half = stage_seconds(small, plan)
    assert usual is not None
    assert half is not None
    assert half["embed"] == pytest.approx(usual["embed"] / 4)
    slow = stage_seconds(config, plan, per_image=2.0)
    assert slow is not None
    assert slow["embed"] == pytest.approx(2.0 * 200)
    assert slow["export"] / usual["export"] == pytest.approx(slow["embed"] / usual["embed"])
    unknown = load_config("pretrained", overrides=overrides | {"backbone.name": "keras:ResNet50"})
    assert stage_seconds(unknown, plan) is None


def test_sic_asks_for_the_words_of_the_encoder_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = _config(
        data__source="folder",
        data__path="photos",
        backbone__name="keras:ResNet50",
        self__objective="sic",
        self__cached_views={"weak": 1, "strong": 0},
        self__refine_epochs=0,
        semi__enabled=False,
    )
    two = Vocabulary(("cat", "dog"), np.eye(2), "the classifier")
    monkeypatch.setattr(preflight_module, "classifier_vocabulary", lambda backbone: two)
    with pytest.raises(UserError, match="ResNet50 has 2 words, too few for 3 clusters"):
        check_words(config)

    def unreadable(backbone: str) -> Vocabulary:
        raise UserError(f"{backbone} has no classifier.")

    monkeypatch.setattr(preflight_module, "classifier_vocabulary", unreadable)
    with pytest.raises(UserError, match="ResNet50 has no classifier"):
        check_words(config)

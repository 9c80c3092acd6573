"""Decisions in other tools' formats: what is written, and that it comes back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.options import ExchangeFormat
from spice_keras.organize import Layout, make_folders, plan_folders
from spice_keras.review.edits import Exclude, Move, NewCluster
from spice_keras.review.effective import effective
from spice_keras.review.exchange import export_clusters, import_clusters
from spice_keras.review.log import EditLog
from spice_keras.review.state import ReviewState

IDS = ["day/a.png", "day/b.png", "night/a.png", "night/=c.png", "night/d.png"]
CLUSTERS = np.array([0, 0, 1, 1, 1])
SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.5])


def make_log(path: Path) -> EditLog:
    return EditLog(path, ReviewState(IDS, CLUSTERS, 2, ["cats", ""]))


@pytest.fixture
def decided(tmp_path: Path) -> EditLog:
    log = make_log(tmp_path / "edits.jsonl")
    log.append(Move(items=(IDS[1],), group="c1"))
    log.append(NewCluster(items=(IDS[3],), group="n1", name="=odd"))
    log.append(Exclude(items=(IDS[4],)))
    return log


@pytest.mark.parametrize("file_format", ["csv", "label-studio", "fiftyone"])
def test_what_is_written_comes_back(
    tmp_path: Path, decided: EditLog, file_format: ExchangeFormat
) -> None:
    path = tmp_path / ("out.csv" if file_format == "csv" else "out.json")
    assert export_clusters(decided.state, SURE, path, file_format) == 4
    fresh = make_log(tmp_path / "fresh.jsonl")
    moved, unknown = import_clusters(fresh, path)
    assert (moved, unknown) == (2, [])
    keys = [fresh.state.key_of(row) for row in range(4)]
    assert keys == [decided.state.key_of(row) for row in range(4)]
    assert fresh.state.groups["n1"].name == "=odd"
    assert import_clusters(fresh, path) == (0, [])  # nothing differs any more


def test_what_the_files_hold(tmp_path: Path, decided: EditLog) -> None:
    path = tmp_path / "out"
    export_clusters(decided.state, SURE, path, "csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"image": "day/a.png", "cluster": "cats"}
    assert rows[3] == {"image": "night/=c.png", "cluster": "'=odd"}  # no formula
    export_clusters(decided.state, SURE, path, "label-studio")
    first = json.loads(path.read_text())[0]
    assert first["data"] == {"image": "day/a.png"}
    assert first["predictions"][0]["score"] == 0.9
    assert first["predictions"][0]["result"][0]["value"] == {"choices": ["cats"]}
    export_clusters(decided.state, SURE, path, "fiftyone")
    found = json.loads(path.read_text())
    assert found["classes"] == ["cats", "c1", "=odd"]
    assert found["labels"] == {"day/a": 0, "day/b": 1, "night/a": 1, "night/=c": 2}


@pytest.mark.parametrize("shares", [None, (0.4, 0.3, 0.3)])
def test_a_folder_in_which_files_were_moved(
    tmp_path: Path, shares: tuple[float, float, float] | None
) -> None:
    log = make_log(tmp_path / "edits.jsonl")
    images = [tmp_path / "photos" / name for name in IDS]
    for image in images:
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"image")
    found = effective(log.state)
    plan = plan_folders(images, found.clusters, found.names, Layout(shares=shares))
    out = tmp_path / "out"
    make_folders(plan, out, "link")
    files = {str(image.resolve()): name for image, name in zip(images, IDS, strict=True)}
    assert import_clusters(log, out, files) == (0, [])
    [old] = [out / name for name in plan.files if name.endswith("d.png")]
    new = old.parent.parent / "mice" / "d.png"
    new.parent.mkdir()
    old.rename(new)
    assert import_clusters(log, out, files) == (1, [])
    assert log.state.groups[log.state.key_of(4)].name == "mice"


def test_what_is_refused_and_what_is_told(tmp_path: Path) -> None:
    log, path = make_log(tmp_path / "edits.jsonl"), tmp_path / "in.csv"
    path.write_text("image,cluster\nday/a.png,1\nelsewhere.png,1\nday/b.png,excluded\n")
    assert import_clusters(log, path) == (2, ["elsewhere.png"])
    assert log.state.key_of(0) == "c1"
    assert log.state.num_excluded == 1
    path.write_text("image,cluster\nelsewhere.png,1\n")
    with pytest.raises(UserError, match="None of the 1 images"):
        import_clusters(log, path)
    for content in ("name\nx\n", "\x00"):
        path.write_text(content)
        with pytest.raises(UserError, match="cannot be read"):
            import_clusters(log, path)
    with pytest.raises(UserError, match="cannot be read"):
        import_clusters(log, tmp_path / "photos")


def test_exports_of_label_studio_with_a_persons_choice(tmp_path: Path) -> None:
    log, path = make_log(tmp_path / "edits.jsonl"), tmp_path / "tasks.json"
    task = {
        "data": {"image": "day/a.png"},
        "annotations": [{"result": [{"value": {"choices": ["dogs"]}}]}],
        "predictions": [{"result": [{"value": {"choices": ["cats"]}}]}],
    }
    path.write_text(json.dumps([task]))
    assert import_clusters(log, path) == (1, [])
    assert log.state.groups[log.state.key_of(0)].name == "dogs"

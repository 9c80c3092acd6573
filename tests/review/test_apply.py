"""`spice apply`: the corrected run says what was decided, and its model says it too."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from spice_keras.config import load_config
from spice_keras.config.protocol import PartCounts
from spice_keras.errors import UserError
from spice_keras.options import Protocol
from spice_keras.pipeline import run_stages
from spice_keras.review import apply as apply_module
from spice_keras.review.apply import apply_edits
from spice_keras.review.edits import Change, Check, Exclude, Merge, Move, NewCluster, Rename
from spice_keras.review.log import EditLog
from spice_keras.review.session import start_state
from spice_keras.run.configuration import read_run_config
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Classifier, Heads, Items, Reliable
from spice_keras.serving.predict import predict
from spice_keras.stages.export import build_final_clusterer
from tests.integration.tiny import invoke
from tests.review.reviewed_run import TESTED, finished_run
from tests.stages.made_run import COUNT, truth


def decide(context: Context, *edits: Change) -> None:
    log = EditLog(context.run.path / "edits.jsonl", start_state(context))
    for edit in edits:
        log.append(edit)


def table(path: Path) -> dict[str, dict[str, str]]:
    with (path / "assignments.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def named(model: Path, context: Context, tmp_path: Path) -> list[str]:
    np.save(tmp_path / "asked.npy", context.images)
    found: Any = predict(model, [tmp_path / "asked.npy"])
    return list(found.names)


@pytest.mark.integration
def test_merged_and_renamed_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = finished_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in context.run.path.rglob("*.npy")}
    decide(
        context,
        Merge(groups=("c0", "c2"), into="c2", name="both"),
        Rename(group="c1", name="alone"),
        Exclude(items=("photos/00.png", "photos/01.png")),
        Check(items=("photos/04.png",)),
    )
    applied = apply_edits(context, tmp_path / "corrected")
    rows = table(applied.path)
    assert len(rows) == COUNT - 2
    assert {row["cluster_name"] for row in rows.values()} == {"both", "alone"}
    for name, row in rows.items():
        assert (row["cluster_name"] == "alone") == (truth()[int(name[7:9])] == 1)
    assert rows["photos/04.png"]["decision"] == "checked"
    assert rows["photos/03.png"]["decision"] == "merged"
    assert applied.learned == 0
    wanted = ["alone" if cluster == 1 else "both" for cluster in truth()]
    assert named(applied.saved_model, context, tmp_path) == wanted
    assert (applied.path / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    monkeypatch.setattr(apply_module, "export", lambda context: tmp_path)
    again = apply_edits(context, tmp_path / "corrected")  # one that it made is replaced
    assert table(again.path) == rows


def test_the_command_computes_as_the_run_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that encodes in another precision than the cached features has other answers."""

    def told_policy(*_: object, **__: object) -> None:
        raise UserError(keras.config.dtype_policy().name)

    monkeypatch.chdir(tmp_path)
    run = finished_run(tmp_path).run.path
    config = run / "config.yaml"
    config.write_text(re.sub(r"(?m)^precision: .*$", "precision: bfloat16", config.read_text()))
    monkeypatch.setattr(apply_module, "apply_edits", told_policy)
    assert "mixed_bfloat16" in invoke("apply", str(run)).stderr


@pytest.mark.integration
def test_moved_images_teach_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_module, "export", lambda context: tmp_path)
    context = finished_run(tmp_path, wrong=True)  # the first cluster holds two groups
    moved = tuple(f"photos/{row:02d}.png" for row in (2, 5, 8, 11))
    decide(
        context,
        NewCluster(items=moved, group="n1", name="thirds"),
        Check(items=("photos/00.png", "photos/01.png")),
        Move(items=("photos/03.png",), group="c1"),
    )
    applied = apply_edits(context, tmp_path / "corrected")
    rows = table(applied.path)
    thirds = {name for name, row in rows.items() if row["cluster_name"] == "thirds"}
    assert thirds == {f"photos/{row:02d}.png" for row in range(2, COUNT, 3)}
    assert applied.learned >= 8
    assert rows["photos/03.png"]["cluster"] == rows["photos/01.png"]["cluster"]
    assert rows["photos/03.png"]["confidence"] == "1.000000"
    assert rows["photos/03.png"]["decision"] == "moved"
    corrected = Context(context.config, RunDirectory(applied.path))
    reliable = corrected.load(Reliable)
    assert dict(zip(reliable.indices.tolist(), reliable.labels.tolist(), strict=True))[3] == int(
        rows["photos/03.png"]["cluster"]
    )
    said = build_final_clusterer(corrected).predict(context.images, verbose=0)
    np.testing.assert_allclose(
        said["probabilities"], corrected.load(Heads).probabilities, atol=1e-4
    )
    kept = apply_edits(context, tmp_path / "kept", keep=True)
    thirds = {name for name, row in table(kept.path).items() if row["cluster_name"] == "thirds"}
    assert thirds == set(moved)
    assert kept.learned == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    ("protocol", "torn"), [("whole", False), ("split", False), ("split", True)]
)
def test_a_run_with_parts(
    protocol: Protocol, torn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_module, "export", lambda context: tmp_path)
    context = finished_run(tmp_path, protocol=protocol)
    edits: list[Change] = [
        Merge(groups=("c0", "c2"), into="c2", name="both"),
        Rename(group="c1", name="alone"),
        Exclude(items=("photos/12.png", "photos/35.png")),
    ]
    if torn:
        edits.append(Move(items=("photos/14.png",), group="c1"))
        right = tuple(f"photos/{row:02d}.png" for row in range(17, COUNT - 1, 3))
        edits.append(Check(items=right))  # or the others would follow it
    if protocol == "whole":
        edits.append(Exclude(items=("photos/00.png",)))
    decide(context, *edits)
    applied = apply_edits(context, tmp_path / "corrected")
    rows = table(applied.path)
    tested = TESTED if protocol == "split" else TESTED - 1
    assert [row["part"] for row in rows.values()].count("test") == tested
    assert len(rows) == tested + COUNT - TESTED - 2
    assert {"photos/12.png", "photos/35.png"}.isdisjoint(rows)
    names = {name: row["cluster_name"] for name, row in rows.items()}
    moved = {"photos/14.png"} if torn else set()
    alone = {name for name in names if truth()[int(name[7:9])] == 1} | moved
    assert {name for name, called in names.items() if called == "alone"} == alone
    assert {rows[f"photos/{row:02d}.png"]["decision"] for row in (1, 4, 7)} == {""}
    assert rows["photos/14.png"]["decision"] == ("moved" if torn else "")
    assert rows["photos/15.png"]["decision"] == "merged"
    corrected = Context(read_run_config(applied.path), RunDirectory(applied.path))
    assert corrected.counts == PartCounts(train=COUNT - TESTED - 2, test=tested)
    kept = [row for row in range(COUNT) if f"photos/{row:02d}.png" in rows]
    shown = np.concatenate([part.images for part in corrected.reported_parts])
    stored = np.load(Items.pixels_file(context.folder(Items)))
    np.testing.assert_array_equal(shown, stored[kept])


@pytest.mark.integration
def test_semi_learns_from_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_module, "export", lambda context: tmp_path)
    context = finished_run(tmp_path)
    decide(context, Merge(groups=("c0", "c2"), into="c0"), Exclude(items=("photos/01.png",)))
    path = apply_edits(context, tmp_path / "corrected").path
    options = {
        "semi.enabled": True,
        "semi.steps": 2,
        "semi.steps_per_epoch": 2,
        "semi.labeled_batch": 4,
        "semi.unlabeled_ratio": 1,
    }
    config = load_config(base=read_run_config(path).as_dict(), overrides=options)
    run_stages(config, path, commands=["semi", "eval"])
    corrected = Context(config, RunDirectory(path))
    assert corrected.load(Classifier).probabilities.shape == (COUNT - 1, 2)
    assert build_final_clusterer(corrected).output["probabilities"].shape == (None, 2)
    assert len(table(path)) == COUNT - 1


def test_what_cannot_be_applied(tmp_path: Path) -> None:
    context = finished_run(tmp_path)
    with pytest.raises(UserError, match=r"no edits in .*spice review"):
        apply_edits(context, tmp_path / "corrected")
    decide(context, Merge(groups=("c0", "c1", "c2"), into="c0"))
    with pytest.raises(UserError, match="leave 1 cluster"):
        apply_edits(context, tmp_path / "corrected")
    assert not (tmp_path / "corrected").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="not made by spice apply"):
        apply_edits(context, tmp_path / "mine")

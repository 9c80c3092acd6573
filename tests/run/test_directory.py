"""The run directory: whole artifacts or none, damage found, figures kept row by row."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest
import yaml

from spice_keras import files
from spice_keras.errors import UserError
from spice_keras.files import write_atomically, write_csv, write_json
from spice_keras.run.directory import SCHEMA_VERSION, RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", {"seed": 1})


def _fill(run: RunDirectory, text: str = "old") -> Path:
    with run.write("thing", stage="stage") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "a.txt").write_text(text)
        (folder / "b.bin").write_bytes(bytes(100))
    return run.path / "artifacts" / "thing"


def _break_off(run: RunDirectory, error: type[BaseException]) -> None:
    with run.write("thing", stage="stage") as folder:
        (folder / "half.bin").write_bytes(b"half")
        raise error


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Starting a run


def test_a_new_run_holds_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    assert not RunDirectory.holds_run(path)
    run = RunDirectory.create(path, {"name": "ü", "b": {"a": None}})
    assert run.path == path
    assert RunDirectory.holds_run(path)
    text = (path / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == {"name": "ü", "b": {"a": None}}
    assert "ü" in text
    assert _names(path) == {"config.yaml"}


def test_an_empty_folder_can_become_a_run(tmp_path: Path) -> None:
    assert RunDirectory.create(tmp_path, {}).path == tmp_path


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match=r"is not empty and holds no run.*--run-dir"):
        RunDirectory.create(tmp_path, {})
    assert _names(tmp_path) == {"thesis.txt"}


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_is_left_alone(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="--run-dir"):
        RunDirectory.create(tmp_path / "file" / below, {})
    assert (tmp_path / "file").read_text() == "mine"
    assert _names(tmp_path) == {"file"}


# Single files


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == {"report.html"}


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "file", b"")
    assert stat.S_IMODE((tmp_path / "deep" / "file").stat().st_mode) == 0o644


def test_numpy_and_what_is_no_number_become_plain_json(tmp_path: Path) -> None:
    value = {
        "nan": math.nan,
        "inf": [math.inf, -math.inf, 1.5],
        "array": np.array([[1, 2], [3, 4]], np.int32),
        "floats": np.array([0.5, np.nan], np.float32),
        "scalar": np.float32(0.25),
        "count": np.int64(7),
        "flag": np.bool_(True),
        "tuple": (1, None),
        3: {"ü": math.nan},
    }
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "nan": None,
        "inf": [None, None, 1.5],
        "array": [[1, 2], [3, 4]],
        "floats": [0.5, None],
        "scalar": 0.25,
        "count": 7,
        "flag": True,
        "tuple": [1, None],
        "3": {"ü": None},
    }
    assert "ü" in text
    assert text.endswith("\n")


def test_a_table_quotes_what_needs_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["image", "cluster"], [('a,"b".png', 1), ("ü\n", 2)])
    expected = 'image,cluster\n"a,""b"".png",1\n"ü\n",2\n'
    assert (tmp_path / "t.csv").read_bytes() == expected.encode()


# Artifacts


def test_an_artifact_is_read_back_with_its_manifest(run: RunDirectory) -> None:
    assert not run.has("thing")
    folder = _fill(run)
    assert run.has("thing")
    assert run.read("thing", written_by="stage") == folder
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["artifact"] == "thing"
    assert manifest["stage"] == "stage"
    assert manifest["schema"] == SCHEMA_VERSION
    assert {name: facts["bytes"] for name, facts in manifest["files"].items()} == {
        "below/a.txt": 3,
        "b.bin": 100,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_the_folder_is_not_there_before_it_is_complete(run: RunDirectory) -> None:
    with run.write("thing", stage="stage") as folder:
        assert folder.name != "thing"
        assert not run.has("thing")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing(run: RunDirectory, error: type[BaseException]) -> None:
    with pytest.raises(error):
        _break_off(run, error)
    assert not run.has("thing")
    assert _names(run.path / "artifacts") == set()


def test_an_error_leaves_the_old_artifact(run: RunDirectory) -> None:
    folder = _fill(run, "old")
    with pytest.raises(RuntimeError):
        _break_off(run, RuntimeError)
    assert run.read("thing", written_by="stage") == folder
    assert (folder / "below" / "a.txt").read_text() == "old"
    assert _names(folder.parent) == {"thing"}


def test_writing_again_replaces_all_of_it(run: RunDirectory) -> None:
    _fill(run)
    with run.write("thing", stage="stage") as folder:
        (folder / "c.txt").write_text("new")
    assert _names(run.read("thing", written_by="stage")) == {"c.txt", "manifest.json"}


def test_what_a_killed_writer_left_is_swept(run: RunDirectory) -> None:
    parent = run.path / "artifacts"
    for name in (".thing.abcdefgh", ".thing.01234567", ".other.abcdefgh"):
        (parent / name).mkdir(parents=True)
        (parent / name / "half").write_text("half")
    _fill(run)
    assert _names(parent) == {"thing", ".other.abcdefgh"}


def test_discard_removes_what_is_there_and_minds_nothing_else(run: RunDirectory) -> None:
    _fill(run)
    run.discard("thing")
    run.discard("thing")
    assert not run.has("thing")


def test_an_artifact_is_adopted_without_a_copy_and_outlives_its_source(
    run: RunDirectory, tmp_path: Path
) -> None:
    theirs = _fill(run)
    other = RunDirectory.create(tmp_path / "other", {"seed": 2})
    other.adopt("thing", run)
    ours = other.read("thing", written_by="stage")
    assert (ours / "below" / "a.txt").samefile(theirs / "below" / "a.txt")
    _fill(run, "new")
    assert (ours / "below" / "a.txt").read_text() == "old", "replaced whole, never changed"
    other.adopt("thing", run)
    assert (ours / "below" / "a.txt").read_text() == "old", "what is there is kept"
    other.adopt("nothing", run)
    assert _names(other.path / "artifacts") == {"thing"}


def test_an_artifact_is_copied_where_it_cannot_be_linked(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(files.os, "link", link)
    theirs = _fill(run)
    other = RunDirectory.create(tmp_path / "other", {"seed": 2})
    other.adopt("thing", run)
    ours = other.read("thing", written_by="stage") / "b.bin"
    assert not ours.samefile(theirs / "b.bin")
    assert ours.read_bytes() == (theirs / "b.bin").read_bytes()


def test_what_is_missing_says_which_command_writes_it(run: RunDirectory) -> None:
    with pytest.raises(UserError, match=r"holds no thing yet: run `spice self --run-dir .*` first"):
        run.read("thing", written_by="self")


def _damage_bit(folder: Path) -> None:
    data = bytearray((folder / "b.bin").read_bytes())
    data[50] ^= 1
    (folder / "b.bin").write_bytes(data)


def _truncate(folder: Path) -> None:
    (folder / "b.bin").write_bytes(bytes(99))


def _remove(folder: Path) -> None:
    (folder / "below" / "a.txt").unlink()


def _cut_manifest(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])


def _empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def _listed_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def _other_schema(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage_bit, r"b\.bin does not match its checksum"),
        (_truncate, r"b\.bin is missing or cut short"),
        (_remove, r"a\.txt is missing or cut short"),
        (_cut_manifest, "manifest of .* is damaged"),
        (_empty_manifest, "manifest of .* is damaged"),
        (_listed_manifest, "manifest of .* is damaged"),
        (_other_schema, "was written with schema 99, this version reads 1"),
    ],
)
def test_damage_is_found(run: RunDirectory, damage: object, message: str) -> None:
    folder = _fill(run)
    assert callable(damage)
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        run.read("thing", written_by="semi")
    if damage is not _other_schema:
        assert f"run `spice repair {run.path}`" in str(caught.value)


# Figures


def test_rows_are_kept_in_order_and_by_stage(run: RunDirectory) -> None:
    assert run.metrics("pretrain") == []
    for epoch in range(2):
        run.append_metrics({"stage": "pretrain", "epoch": epoch, "loss": 1.0 / 3.0})
    run.append_metrics({"stage": "self", "epoch": 0, "head_losses": np.array([1.0, np.nan])})
    assert run.metrics("pretrain") == [
        {"stage": "pretrain", "epoch": epoch, "loss": 1.0 / 3.0} for epoch in range(2)
    ]
    assert run.metrics("self")[0]["head_losses"] == [1.0, None]
    assert run.metrics("semi") == []


def test_a_line_cut_by_a_crash_is_left_out(run: RunDirectory) -> None:
    run.append_metrics({"stage": "semi", "epoch": 0})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "semi", "epo')
    assert run.metrics("semi") == [{"stage": "semi", "epoch": 0}]
    run.forget_metrics("semi", from_epoch=1)
    run.append_metrics({"stage": "semi", "epoch": 1})
    assert [row["epoch"] for row in run.metrics("semi")] == [0, 1]
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]


def test_forgetting_touches_one_stage_from_one_epoch_on(run: RunDirectory) -> None:
    rows = [
        {"stage": stage, "epoch": epoch, "loss": 0.1 * epoch, "note": "ü"}
        for stage in ("pretrain", "self")
        for epoch in range(4)
    ]
    for row in rows:
        run.append_metrics(row)
    before = (run.path / "metrics.jsonl").read_bytes().splitlines()
    run.forget_metrics("pretrain", from_epoch=2)
    assert [row["epoch"] for row in run.metrics("pretrain")] == [0, 1]
    assert [row["epoch"] for row in run.metrics("self")] == [0, 1, 2, 3]
    kept = (run.path / "metrics.jsonl").read_bytes().splitlines()
    assert kept == before[:2] + before[4:]
    run.forget_metrics("pretrain", from_epoch=0)
    assert run.metrics("pretrain") == []

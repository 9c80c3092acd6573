"""Small files of a run folder, damaged at random: a sentence or a way on, never a traceback."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.run.configuration import read_run_config
from spice_keras.run.damage import find_damage
from spice_keras.run.directory import RunDirectory
from spice_keras.run.history import History, open_run
from spice_keras.run.lock import Holder, run_lock
from spice_keras.training.checkpoint_files import (
    STATE,
    WEIGHTS,
    checkpoint_folder,
    checkpoints_in,
    is_whole,
    write_facts,
)

_MANIFEST = "artifacts/heads/manifest.json"
_CHECKPOINT = "checkpoints/semi/epoch-0000003/checksums.json"
_FILES = (
    _MANIFEST, _CHECKPOINT, "metrics.jsonl", "timings.json", "environment.json", "config.yaml",
    "run.lock",
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["files", "schema", "artifact", "bytes", "sha256", "made_from", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A run that was interrupted in its last training stage."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        run = open_run(path, load_config("digits"))
        for name in ("images", "encoder", "embeddings", "heads", "reliable"):
            with run.write(name, stage="test") as artifact:
                (artifact / "x.npy").write_bytes(name.encode())
        checkpoint = checkpoint_folder(run.checkpoints / "semi", 3)
        checkpoint.mkdir(parents=True)
        for name in (WEIGHTS, STATE):
            (checkpoint / name).write_bytes(b"x")
        write_facts(checkpoint, stage="semi", epoch=3)
        for stage in ("self", "semi"):
            for epoch in range(3):
                run.append_metrics({"stage": stage, "epoch": epoch, "loss": 1.5})
            run.add_time(stage, 12.5)
        with run_lock(path):
            shutil.copy(path / "run.lock", path.parent / "run.lock")
        shutil.copy(path.parent / "run.lock", path / "run.lock")
        yield path


def _use(path: Path) -> None:
    """Read all that a command reads of a folder before it trains."""
    run = RunDirectory(path)
    Holder.read(path / "run.lock")
    for stage in ("self", "semi"):
        assert all(isinstance(row["epoch"], int) for row in run.metrics(stage))
    assert all(isinstance(seconds, float) for seconds in run.timings().values())
    find_damage(run, ["images", "encoder", "embeddings", "heads", "reliable", "classifier"])
    config = read_run_config(path)
    history = History.begin(path, config, commands=("semi",), resume=True)
    for checkpoint in checkpoints_in(history.run.checkpoints / "semi"):
        assert is_whole(checkpoint)
    run.forget_metrics("semi", from_epoch=2)


def _damaged(made: Path, name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        shutil.copytree(made, path)
        (path / name).write_bytes(data)
        with contextlib.suppress(UserError):
            _use(path)


@seed(14)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(_FILES))
def test_flipped_bits_and_cut_ends(made: Path, data: st.DataObject, name: str) -> None:
    text = bytearray((made / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    _damaged(made, name, bytes(text))


@seed(14)
@settings(max_examples=20, deadline=None)
@given(value=_JSON, name=st.sampled_from(_FILES))
def test_other_json(made: Path, value: object, name: str) -> None:
    _damaged(made, name, json.dumps(value).encode())


@seed(14)
@settings(max_examples=20, deadline=None)
@given(
    value=_JSON,
    key=st.sampled_from(["artifact", "schema", "stage", "files", "digest", "made_from"]),
    name=st.sampled_from([_MANIFEST, _CHECKPOINT]),
)
def test_one_entry_of_another_kind(made: Path, value: object, key: str, name: str) -> None:
    facts = json.loads((made / name).read_text())
    _damaged(made, name, json.dumps(facts | {key: value}).encode())


@pytest.mark.parametrize("name", [_MANIFEST, "metrics.jsonl", "timings.json", _CHECKPOINT])
def test_deep_nesting(made: Path, name: str) -> None:
    _damaged(made, name, b"[" * 100_000)


@pytest.mark.parametrize("files", [[], None, "x", {"x.npy": None}, {"../x": {}}, {"x.npy": []}])
def test_a_manifest_with_other_files_is_damaged(made: Path, tmp_path: Path, files: object) -> None:
    shutil.copytree(made, tmp_path / "run")
    path = tmp_path / "run" / _MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))
    with pytest.raises(UserError, match=r"manifest of .* is damaged: run `spice repair"):
        RunDirectory(tmp_path / "run").read("heads", written_by="self")

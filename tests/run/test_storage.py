"""Full disks, missing permissions, folders that go away, and signals: a sentence, and a way on."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from spice_keras.config import load_config, make_plan
from spice_keras.errors import Terminated, UserError, termination_raises
from spice_keras.files import (
    atomic_file,
    atomic_folder,
    reserve,
    storage_problem,
    sweep_folder,
    write_json,
)
from spice_keras.progress import silent_screen
from spice_keras.run import storage
from spice_keras.run.directory import RunDirectory
from spice_keras.run.storage import (
    check_export_folder,
    check_room,
    expected_bytes,
    explained_storage,
)
from spice_keras.training.checkpoints import Checkpoints, model_bytes, save_weights


@pytest.fixture
def no_room() -> Iterator[int]:
    """No file may grow beyond this many bytes: what a write meets on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _model() -> keras.Model:
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(300)])
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_a_checkpoint_without_room_leaves_the_last_one(tmp_path: Path, no_room: int) -> None:
    folder = tmp_path / "run" / "checkpoints" / "self"
    folder.mkdir(parents=True)
    model = _model()
    assert model_bytes(model) > no_room
    with (
        pytest.raises(UserError, match=r"cannot be written: the file is larger .*--resume"),
        explained_storage(tmp_path / "run"),
    ):
        Checkpoints(folder).save(3, model, {})
    assert list(folder.iterdir()) == []


def test_weights_are_not_begun_without_room(tmp_path: Path, no_room: int) -> None:
    with pytest.raises(OSError, match="too large"):
        save_weights(_model(), tmp_path / "network.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_arrays_and_json_without_room_leave_nothing(tmp_path: Path, no_room: int) -> None:
    RunDirectory.create(tmp_path / "run", {})
    run = RunDirectory(tmp_path / "run")

    def save() -> None:
        with run.write("heads", stage="self") as folder:
            np.save(folder / "a.npy", np.zeros(no_room))

    with (
        pytest.raises(UserError, match=r"cannot be written: .*go on with --resume"),
        explained_storage(run.path),
    ):
        save()
    with pytest.raises(UserError, match="cannot be written"), explained_storage(run.path):
        write_json(run.path / "plan.json", "x" * no_room)
    assert list((run.path / "artifacts").iterdir()) == []
    assert [path.name for path in run.path.iterdir() if path.is_file()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError("8000 requested and 4096 written"), "the disk is full"),
        (RuntimeError("x.index; No space left on device"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "there is no permission to write"),
        (ValueError("shapes differ"), None),
        (OSError("not an image"), None),
    ],
)
def test_what_the_system_says_is_put_into_words(error: Exception, said: str | None) -> None:
    assert storage_problem(error) == said


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), explained_storage(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(UserError, match=r"^mine$"), explained_storage(tmp_path):
        raise UserError("mine")


def test_room_is_asked_for_and_given_back(tmp_path: Path, no_room: int) -> None:
    reserve(tmp_path, no_room)
    with pytest.raises(OSError, match="too large"):
        reserve(tmp_path, no_room + 1)
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("digits")
    plan = make_plan(config, 1797)
    needed = expected_bytes(config, plan)
    assert needed > plan.image_bytes
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=needed))
    check_room(config, plan, tmp_path / "not" / "there")
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(UserError, match=r"writes about \d+ MiB .* are free there.*--run-dir"):
        check_room(config, plan, tmp_path / "not" / "there")


def test_a_place_for_the_model_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", Path("/proc/models")):
        config = load_config("digits", overrides={"export.directory": str(place)})
        with pytest.raises(UserError, match=r"SavedModel cannot be written to .*export\.directory"):
            check_export_folder(config)
    check_export_folder(
        load_config("digits", overrides={"export.directory": str(tmp_path / "a" / "b")})
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_taken_away_does_not_come_back_in_part(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    run.path.rename(tmp_path / "moved")
    for write in (
        lambda: run.append_metrics({"stage": "self", "epoch": 0}),
        lambda: run.add_time("self", 1.0),
        lambda: run.write("heads", stage="self").__enter__(),
    ):
        with pytest.raises(UserError, match="no longer there: it was moved or deleted"):
            write()
    assert not run.path.exists()


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with atomic_folder(tmp_path / "a" / "folder") as folder:
            write_json(folder / "file", {})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "folder": 0o700, "file": 0o600}


def test_a_living_writer_is_not_swept_away(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "1") as folder, atomic_file(tmp_path / "table.csv") as file:
        (tmp_path / ".2.0123abcd").mkdir()
        (tmp_path / ".other.csv.89abcdef").write_text("half")
        sweep_folder(tmp_path)
        (folder / "x").write_text("x")
        file.write(b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"1", "table.csv"}


def test_sigterm_ends_a_block_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), termination_raises():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


class _Signals:
    """Something that is collected just when a signal comes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)


@pytest.fixture
def _ctrl_c_interrupts() -> Iterator[None]:
    """It does nothing in the background job of a shell, where these tests may run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_that_python_drops_ends_the_work_after_its_step(
    number: int, error: type[KeyboardInterrupt]
) -> None:
    before = signal.getsignal(number)
    steps = []

    def work() -> None:
        with termination_raises(), silent_screen().task("train", 10) as task:
            garbage = _Signals(number)
            del garbage
            for step in range(10):
                steps.append(step)
                task.advance()

    with pytest.raises(error):
        work()
    assert steps == [0]
    assert signal.getsignal(number) == before
    with termination_raises(), silent_screen().task("train", 1) as task:
        task.advance()  # an interruption ends one block and not the next


def test_ctrl_c_stays_ignored_where_it_was() -> None:
    """As in a shell's background jobs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with termination_raises():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("home", [None, "/nonexistent"])
def test_the_command_needs_no_home(tmp_path: Path, home: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    if home is not None:
        environment["HOME"] = home
    done = subprocess.run(
        [sys.executable, "-m", "spice_keras.cli", "run", "digits", "--dry-run", "--verbose"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "num_clusters: 10" in done.stdout
    assert list(tmp_path.iterdir()) == []

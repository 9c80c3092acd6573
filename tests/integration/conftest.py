"""Whole runs, each made once by one worker and read by the tests of all."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import click.testing
import keras
import numpy as np
import pytest

from spice_keras import load_config, run_all
from spice_keras.data import labels as labels_module
from spice_keras.data.sources import source_class
from spice_keras.options import SOURCES
from spice_keras.serving.check import Checker
from spice_keras.stages import export as export_module
from spice_keras.stages import labels as stage_module
from tests.integration.tiny import invoke, shapes, start, write_tiny

_ROOM = Path(__file__).parent
_DONE = ".made"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs the command or a whole run."""
    for item in items:
        if item.path.is_relative_to(_ROOM):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True, scope="package")
def _precision_is_put_back() -> Iterator[None]:
    """A run sets the precision of the whole process: give it back to the other rooms."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.enable_traceback_filtering()


class _OneChecker:
    """The process that checks exports, kept for those of all tests of a worker."""

    def __init__(self) -> None:
        self._kept: Checker | None = None
        self._waiting = False

    def __call__(self) -> _OneChecker:
        return self

    def __enter__(self) -> _OneChecker:
        if self._kept is None:
            self._kept = Checker()
        return self

    def __exit__(self, *error: object) -> None:
        if self._waiting:  # for an answer that nobody will read
            self.end()

    def ask(self, model: Path, items: np.ndarray) -> None:
        assert self._kept is not None
        self._kept.ask(model, items)
        self._waiting = True

    def verify(self, probabilities: np.ndarray) -> None:
        assert self._kept is not None
        self._kept.verify(probabilities)
        self._waiting = False

    def end(self) -> None:
        if self._kept is not None:
            self._kept.__exit__()
        self._kept, self._waiting = None, False


@pytest.fixture(autouse=True, scope="session")
def _exports_are_checked_by_one_process() -> Iterator[None]:
    """TensorFlow takes seconds to start; the commands that tests start have one of their own."""
    one = _OneChecker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "Checker", one)
        yield
        one.end()


MadeOnce = Callable[[str, Callable[[Path], object]], Path]
"""Takes a name and what fills an empty folder; gives the filled folder."""


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Let one worker make what the tests of several read; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (base / f"{name}{_DONE}").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
                folder.mkdir()
                make(folder)
                (base / f"{name}{_DONE}").touch()
        return folder

    return folder_of


@dataclass(frozen=True)
class Said:
    """How a command ended.

    Attributes:
        exit_code: 0 if all went well.
        stdout: Its standard output.
        stderr: Its standard error.
        exception: What it raised, in words; None if nothing, or an exit.
    """

    exit_code: int
    stdout: str
    stderr: str
    exception: str | None = None

    @property
    def output(self) -> str:
        """All it said."""
        return self.stdout + self.stderr

    @classmethod
    def of(cls, result: click.testing.Result) -> Said:
        """What a command run in this process said."""
        error = result.exception
        told = None if error is None or isinstance(error, SystemExit) else repr(error)
        return cls(result.exit_code, result.stdout, result.stderr, told)


def _keep(said: dict[str, Said], path: Path) -> None:
    path.write_text(json.dumps({name: asdict(each) for name, each in said.items()}), "utf-8")


def _kept(path: Path) -> dict[str, Said]:
    return {name: Said(**each) for name, each in json.loads(path.read_text("utf-8")).items()}


@dataclass(frozen=True)
class Finished:
    """A run that ended: its folder, and what it said."""

    run: Path
    code: int
    stdout: str
    stderr: str


def _finished(folder: Path) -> Finished:
    said = _kept(folder / "said.json")["run"]
    return Finished(folder / "run", said.exit_code, said.stdout, said.stderr)


@pytest.fixture(scope="session")
def tiny(made_once: MadeOnce) -> Path:
    """A folder with shapes.npz, its labels right, tiny.yaml, and the run of `finished`."""

    def make(folder: Path) -> None:
        write_tiny(folder, labels=shapes()[1])
        process = start("run", "tiny.yaml", "--run-dir", "run", cwd=folder)
        stdout, stderr = process.communicate(timeout=500)
        assert process.returncode == 0, stderr
        _keep({"run": Said(process.returncode, stdout, stderr)}, folder / "said.json")

    return made_once("tiny", make)


@pytest.fixture(scope="session")
def finished(tiny: Path) -> Finished:
    """The uninterrupted run, as a user starts it, its output in pipes."""
    return _finished(tiny)


def _label_readers() -> Iterator[tuple[object, str]]:
    """Each source's `read_labels`, and every function of data/labels.py, wherever it is held."""
    sources = [source_class(name) for name in SOURCES]
    readers = {
        function
        for name, function in inspect.getmembers(labels_module, inspect.isfunction)
        if function.__module__ == labels_module.__name__ and not name.startswith("_")
    }
    holders = [labels_module, stage_module, *(sys.modules[each.__module__] for each in sources)]
    for source in sources:
        yield source, "read_labels"
    for module in holders:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function in readers:
                yield module, name


def _refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("labels were read")


def unverified(patch: pytest.MonkeyPatch) -> None:
    """Leave out the check in a process of its own, which `finished` has: it takes seconds."""
    unasked = SimpleNamespace(ask=lambda *given: None, verify=lambda *given: None)
    patch.setattr(export_module, "Checker", lambda: nullcontext(unasked))


@dataclass(frozen=True)
class Stagewise:
    """A run made command by command."""

    run: Path
    results: dict[str, Said]


def _stage_by_stage(folder: Path) -> None:
    labels = np.random.default_rng(9).integers(0, 5, len(shapes()[1]))
    write_tiny(folder, labels=labels)
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        unverified(patch)
        with pytest.MonkeyPatch.context() as poison:
            for holder, name in _label_readers():
                poison.setattr(holder, name, _refuse)
            results["pretrain"] = invoke("pretrain", "tiny.yaml", "--run-dir", "stages")
            for command in ("self", "semi", "export"):
                results[command] = invoke(command, "--run-dir", "stages")
            results["poisoned eval"] = invoke("eval", "--run-dir", "stages")
        results["eval"] = invoke("eval", "--run-dir", "stages")
    _keep({name: Said.of(result) for name, result in results.items()}, folder / "said.json")


@pytest.fixture(scope="session")
def stagewise(made_once: MadeOnce) -> Stagewise:
    """The same images under random labels of five classes, stage by stage.

    Until it is evaluated, reading a label is an error.
    """
    folder = made_once("stagewise", _stage_by_stage)
    return Stagewise(folder / "stages", _kept(folder / "said.json"))


@pytest.fixture(scope="session")
def unlabelled(made_once: MadeOnce) -> Finished:
    """The same images without labels; said verbosely."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(write_tiny(folder))
            unverified(patch)
            result = invoke("run", "tiny.yaml", "--run-dir", "run", "--verbose")
        assert result.exit_code == 0, result.output
        _keep({"run": Said.of(result)}, folder / "said.json")

    return _finished(made_once("unlabelled", make))


QUICK = {
    "pretrain.epochs": 1, "self.epochs": 1, "self.refine_epochs": 0, "semi.init": "scratch",
    "semi.backbone.name": "wrn_28_2", "semi.backbone.width": 4, "semi.backbone.first_stride": 2,
    "semi.steps": 4, "semi.steps_per_epoch": 2,
}  # fmt: skip
"""A run that ends as soon as can be, its classifier a wide network behind another encoder."""


@dataclass(frozen=True)
class Quick:
    """Two runs in one folder, beside the data they were made of.

    Attributes:
        folder: Where both lie, with tiny.yaml, and saved_models.
        heads: Judged and exported without SPICE-Semi, said quietly.
        run: The same, gone on from there with SPICE-Semi.
        said: What the first said.
    """

    folder: Path
    heads: Path
    run: Path
    said: Said


@pytest.fixture(scope="session")
def quick(made_once: MadeOnce) -> Quick:
    """Starting points for tests that do something to a run."""

    def make(folder: Path) -> None:
        options = [f"--set={name}={value}" for name, value in QUICK.items()]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(write_tiny(folder, labels=shapes()[1]))
            unverified(patch)
            alone = invoke(
                "run", "tiny.yaml", *options, "--set=semi.enabled=false", "--run-dir", "heads",
                "--quiet",
            )  # fmt: skip
            assert alone.exit_code == 0, alone.output
            shutil.copytree("heads", "run")
            run_all(load_config("tiny.yaml", overrides=QUICK), "run", resume=True)
        _keep({"run": Said.of(alone)}, folder / "said.json")

    folder = made_once("quick", make)
    said = _kept(folder / "said.json")["run"]
    return Quick(folder, folder / "heads", folder / "run", said)

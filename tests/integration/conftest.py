"""Whole runs, each made once and shared by the tests of this room."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click.testing
import keras
import numpy as np
import pytest

from spice_keras.data import labels as labels_module
from spice_keras.data.sources import source_class
from spice_keras.options import SOURCES
from spice_keras.stages import export as export_module
from spice_keras.stages import labels as stage_module
from tests.integration.tiny import invoke, shapes, start, write_tiny


@pytest.fixture(autouse=True, scope="package")
def _precision_is_put_back() -> Iterator[None]:
    """A run sets the precision of the whole process: give it back to the other rooms."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.enable_traceback_filtering()


@dataclass(frozen=True)
class Finished:
    """A run that ended: its folder, and what it said."""

    run: Path
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shapes.npz, its labels right, and tiny.yaml."""
    return write_tiny(tmp_path_factory.mktemp("tiny"), labels=shapes()[1])


@pytest.fixture(scope="session")
def finished(tiny: Path) -> Finished:
    """The uninterrupted run, as a user starts it, its output in pipes."""
    process = start("run", "tiny.yaml", "--run-dir", "run", cwd=tiny)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return Finished(tiny / "run", process.returncode, stdout, stderr)


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


@dataclass(frozen=True)
class Stagewise:
    """A run made command by command."""

    run: Path
    results: dict[str, click.testing.Result]


@pytest.fixture(scope="session")
def stagewise(tiny: Path, finished: Finished) -> Stagewise:
    """The same run stage by stage; until it is evaluated, reading a label is an error."""
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny)
        with pytest.MonkeyPatch.context() as poison:
            for holder, name in _label_readers():
                poison.setattr(holder, name, _refuse)
            results["pretrain"] = invoke("pretrain", "tiny.yaml", "--run-dir", "stages")
            for command in ("self", "semi", "export"):
                results[command] = invoke(command, "--run-dir", "stages")
            results["poisoned eval"] = invoke("eval", "--run-dir", "stages")
        results["eval"] = invoke("eval", "--run-dir", "stages")
    return Stagewise(tiny / "stages", results)


def _variant(folder: Path, loudness: str) -> Finished:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The check in a process of its own is `finished`'s: it takes as long as the rest.
        patch.setattr(export_module, "verify", lambda *arguments: None)
        result = invoke("run", "tiny.yaml", "--run-dir", "run", loudness)
    assert result.exit_code == 0, result.output
    return Finished(folder / "run", result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def garbage(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same images under random labels of five classes; said quietly."""
    labels = np.random.default_rng(9).integers(0, 5, len(shapes()[1]))
    return _variant(write_tiny(tmp_path_factory.mktemp("garbage"), labels=labels), "--quiet")


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same images without labels; said verbosely."""
    return _variant(write_tiny(tmp_path_factory.mktemp("unlabelled")), "--verbose")

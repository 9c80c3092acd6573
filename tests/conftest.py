"""Shared test set-up: quiet TensorFlow, fixed seeds, opt-in slow tests."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
# There are as many workers as cores. Only the threads within an operation: with a single one
# between operations a data set within a graph can wait for itself.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# TensorFlow's allocator for oneDNN keeps half a gigabyte once a test has needed it.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

import hypothesis
import pytest

from spice_keras.runtime import release_memory, settings_put_back

hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, print_blob=True
)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Whole runs first, in whatever order: no worker is left with a long file at the end.
    items.sort(key=lambda item: "integration" not in item.keywords)
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: pass --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Leave what the imports made out of every later search for garbage, which it slows down."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _settings_are_put_back() -> Iterator[None]:
    """A command that a test runs in this process sets determinism and precision to stay."""
    if "tensorflow" not in sys.modules:
        yield
        return
    with settings_put_back():
        yield


@pytest.fixture(autouse=True, scope="module")
def _memory_is_given_back() -> Iterator[None]:
    """Models are circles of references: a worker would keep those of many files at once."""
    yield
    release_memory()

"""The examples in docstrings, run as they stand."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from importlib import import_module

import pytest

import spice_keras
from spice_keras.options import BACKBONES

_MODULES = sorted({f"spice_keras.{home}" for home in spice_keras._HOMES.values()})
_CLASSES = (
    "HeadSelection",
    "MoCo",
    "NeighborClustering",
    "SelfVariant",
    "SpiceClusterer",
    "SpiceSelf",
    "SpiceSemi",
)


@pytest.fixture(autouse=True)
def _backbones_are_put_back() -> Iterator[None]:
    """An example registers one."""
    before = dict(BACKBONES)
    yield
    BACKBONES.clear()
    BACKBONES.update(before)


@pytest.mark.parametrize("name", _MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    outcome = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


@pytest.mark.parametrize("name", _CLASSES)
def test_a_public_class_has_an_example(name: str) -> None:
    assert doctest.DocTestParser().get_examples(getattr(spice_keras, name).__doc__)

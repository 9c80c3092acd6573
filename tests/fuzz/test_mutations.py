"""Damaged inputs of every kind end in an image, a value, or an error for a person: never else.

`make fuzz` draws more of them, for an hour.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import RIGHT, TARGETS, mutated

_FIXED = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

# Fewer of those that take long: a folder is copied for each, or a model is loaded.
_EXAMPLES = {"manifests": 60, "shards": 100, "artifacts": 40, "checkpoints": 40, "networks": 40,
             "variables": 15}  # fmt: skip


@pytest.mark.parametrize("kind", TARGETS)
def test_honest_inputs_are_read(kind: str, tmp_path: Path) -> None:
    target = TARGETS[kind]
    for place, data in enumerate(target.seeds()):
        path = tmp_path / f"{place}{target.suffix}"
        path.write_bytes(data)
        if place == 0 or kind != "manifests":  # the others are damaged by hand
            target.read(path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", TARGETS)
def test_damaged_inputs_end_in_an_error_for_a_person(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS[kind]
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    path = tmp_path / f"x{target.suffix}"

    @seed(14)
    @settings(max_examples=_EXAMPLES.get(kind, 250), **_FIXED)  # type: ignore[arg-type]
    @given(number=st.integers(0, 2**32 - 1))
    def damage(number: int) -> None:
        rng, pool = np.random.default_rng(number), target.seeds()
        path.write_bytes(mutated(pool[number % len(pool)], rng, pool))
        try:
            target.read(path)
        except RIGHT:
            return

    damage()
    assert list(outside.iterdir()) == []
    assert list(tmp_path.iterdir()) in ([outside, path], [path, outside])

"""Several devices, each with an equal part of every batch, train what one trains on the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spice_keras.run.local_workers import run_local_workers
from spice_keras.runtime import tensorflow_session
from spice_keras.training.loop import FitLength, fit_on_replicas
from tests.integration.conftest import MadeOnce
from tests.integration.replicas import SHARED
from tests.models import synthetic

_SCRIPT = [sys.executable, "-m", "tests.integration.replicas"]


@pytest.fixture(scope="module")
def ways(made_once: MadeOnce) -> Path:
    """What six steps of each model leave on one device, on two of a process, by two workers."""

    def make(folder: Path) -> None:
        for way in ("one", "mirrored", "workers"):
            (folder / way).mkdir()
        subprocess.run([*_SCRIPT, "mirrored", str(folder)], check=True, timeout=500)
        assert run_local_workers([*_SCRIPT, "workers", str(folder)], 2, folder / "logs") == 0

    return made_once("replicas", make)


@pytest.mark.parametrize(
    ("way", "name"), [(way, name) for way, names in SHARED.items() for name in (*names, "self")]
)
def test_several_devices_train_what_one_trains(ways: Path, way: str, name: str) -> None:
    """Figures of each step, weights, queue, averages and statistics of batch normalisation."""
    one, other = (np.load(ways / folder / f"{name}.npz") for folder in ("one", way))
    assert one.files == other.files
    for array in one.files:
        np.testing.assert_allclose(other[array], one[array], atol=1e-5, err_msg=array)


@pytest.mark.parametrize("way", SHARED)
def test_devices_stay_alike_and_one_device_reads_their_checkpoint(ways: Path, way: str) -> None:
    found = json.loads((ways / way / "found.json").read_text("utf-8"))
    assert found == {name: {"restored": True, "unlike": []} for name in SHARED[way]}


def test_on_one_device_the_loop_is_fit_to_the_last_bit() -> None:
    with tensorflow_session(precision="float32"):
        fitted, looped = synthetic.make_moco(), synthetic.make_moco()
        synthetic.fit(fitted, synthetic.moco_batch, range(4))
        data = synthetic.batches(synthetic.moco_batch, range(4))
        fit_on_replicas(looped, data, FitLength(4, 1, 1, 6), 0, [])
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

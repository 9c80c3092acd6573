"""Two devices, each with half of every batch, train what one trains on the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spice_keras.runtime import tensorflow_session
from spice_keras.training.loop import FitLength, fit_on_replicas
from tests.models import synthetic


@pytest.mark.integration
def test_two_devices_train_what_one_trains(tmp_path: Path) -> None:
    """Ten steps: figures, weights, queue and statistics; a checkpoint loads on one device."""
    command = [sys.executable, "-m", "tests.integration.replicas", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(output.stdout)
    assert set(found) == {"moco", "guided", "semantic", "semi"}
    for name, result in found.items():
        assert max(result["figures"], result["weights"]) < 1e-5, name
        assert (result["unlike"], result["restored"]) == ([], True), name


def test_on_one_device_the_loop_is_fit_to_the_last_bit() -> None:
    with tensorflow_session(precision="float32"):
        fitted, looped = synthetic.make_moco(), synthetic.make_moco()
        synthetic.fit(fitted, synthetic.moco_batch, range(4))
        data = synthetic.batches(synthetic.moco_batch, range(4))
        fit_on_replicas(looped, data, FitLength(4, 1, 1, 6), 0, [])
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

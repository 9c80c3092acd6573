"""Drawn configurations of whole runs on images, and what many images hold in memory."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, seed, settings

from tests.integration.conftest import unverified
from tests.integration.tiny import COUNT, invoke, metrics, start, write_tiny

_MANY_SIDE = 32  # pixels

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

_CONFIGURATIONS = st.fixed_dictionaries(
    {
        "num_clusters": st.integers(2, 6),
        "backbone.name": st.sampled_from(["small_resnet", "wrn_28_2"]),
        "backbone.width": st.sampled_from([4, 8]),
        "data.image_size": st.sampled_from([8, 16]),
        "pretrain.epochs": st.integers(1, 2),
        "pretrain.batch_size": st.sampled_from([8, 16, 48]),
        "pretrain.queue_size": st.sampled_from([48, 96]),
        "pretrain.views.policy": st.sampled_from(["upright", "moco"]),
        "self.objective": st.sampled_from(["neighbors", "prototypes"]),
        "self.sizes": st.sampled_from(["even", "uneven"]),
        "self.num_heads": st.integers(1, 3),
        "self.epochs": st.just(1),
        "self.refine_epochs": st.integers(0, 1),
        "self.batch_size": st.sampled_from([16, 32]),
        "reliable.balance": st.sampled_from(["none", "min"]),
        "reliable.confidence_threshold": st.sampled_from([0.0, 0.99]),
        "semi.enabled": st.booleans(),
        "semi.init": st.sampled_from(["pretrained", "scratch"]),
        "semi.class_balanced": st.booleans(),
        "semi.steps": st.just(4),
        "semi.steps_per_epoch": st.just(2),
        "semi.unlabeled_ratio": st.integers(1, 7),
        "seed": st.integers(0, 99),
    }
)


def test_drawn_configurations_that_validate_run_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    unverified(monkeypatch)
    ended = []

    @seed(14)
    @settings(max_examples=6, deadline=None, database=None)
    @given(chosen=_CONFIGURATIONS)
    def run(chosen: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = write_tiny(Path(name))
            options = [
                "tiny.yaml", "--run-dir", "run",
                *(f"--set={key}={value}" for key, value in chosen.items()),
            ]  # fmt: skip
            monkeypatch.chdir(folder)
            dry = invoke("run", *options, "--dry-run")
            assert dry.exit_code in (0, 2), dry.output
            assume(dry.exit_code == 0)
            done = invoke("run", *options)
            assert done.exit_code == 0, (done.output, chosen)
            assert metrics(folder / "run")["num_images"] == COUNT
            ended.append(chosen)
            monkeypatch.chdir(Path(__file__).parent)

    run()
    assert len(ended) >= 3, "too many of the drawn configurations were refused"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_images_stay_on_the_disk(tmp_path: Path) -> None:
    few, many = (_private_bytes(tmp_path / str(count), count) for count in (20_000, 200_000))
    pixels = 180_000 * _MANY_SIDE * _MANY_SIDE * 3  # names and what is made of them take a sixth
    assert many - few < pixels / 2, f"{few / 2**20:.0f} MiB, then {many / 2**20:.0f} MiB"


def _private_bytes(folder: Path, count: int) -> int:
    """The most memory of its own, mapped files aside, that pretraining on drawn images holds."""
    write_tiny(folder)
    shape = (_MANY_SIDE, _MANY_SIDE, 3)
    images = np.lib.format.open_memmap(folder / "many.npy", "w+", np.uint8, (count, *shape))
    drawn = np.random.default_rng(0).integers(0, 256, (1000, *shape), np.uint8)
    for first in range(0, count, len(drawn)):
        images[first : first + len(drawn)] = drawn
    images.flush()
    command = [
        "pretrain", "tiny.yaml", "--images", "many.npy", "--run-dir", "run",
        "--set=pretrain.epochs=1", "--set=pretrain.batch_size=500", "--set=pretrain.queue_size=500",
        "--set=backbone.width=4", "--set=data.memory_limit_mb=8",
        f"--set=data.image_size={_MANY_SIDE}",
    ]  # fmt: skip
    most = 0
    with start(*command, cwd=folder) as process:
        while process.poll() is None:
            most = max(most, _anonymous(process.pid))
            time.sleep(0.05)
        assert process.returncode == 0, process.communicate()[1]
    return most


def _anonymous(number: int) -> int:
    try:
        text = Path(f"/proc/{number}/status").read_text()
    except OSError:  # it has just ended
        return 0
    value = text.partition("RssAnon:")[2].split()
    return int(value[0]) * 1024 if value else 0

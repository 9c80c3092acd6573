"""A stage that diverges names the option that made it: each is set much too high in turn."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import Finished
from tests.integration.tiny import invoke

_TOO_HIGH = "1e38"


def _advice(text: str) -> tuple[str, str]:
    """Which stage diverged, and the option it names."""
    found = re.search(
        r"^Error: (\w+) diverged: the loss is -?(?:nan|inf) at step \d+ of the epoch\. "
        r"Lower the learning rate \(--set ([\w.]+)=\.\.\.\)",
        text,
        re.MULTILINE,
    )
    assert found, text
    return found[1], found[2]


@pytest.mark.parametrize(
    ("command", "phase", "option"),
    [
        ("pretrain", "pretrain", "pretrain.learning_rate"),
        ("self", "self", "self.learning_rate"),
        ("self", "refine", "self.neighbors.learning_rate"),
        ("semi", "semi", "semi.learning_rate"),
    ],
)
def test_the_option_that_is_named_is_the_one_that_is_read(
    tiny: Path,
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    phase: str,
    option: str,
) -> None:
    monkeypatch.chdir(tiny)
    shutil.copytree(finished.run, tmp_path / "run")
    said = invoke(
        command, "--run-dir", tmp_path / "run", "--redo", "--set", f"{option}={_TOO_HIGH}"
    )
    assert said.exit_code == 2
    assert _advice(said.stderr) == (phase, option)


@pytest.mark.parametrize(
    ("objective", "option"),
    [("neighbors", "self.neighbors.learning_rate"), ("prototypes", "self.learning_rate")],
)
def test_so_it_is_for_heads_on_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("features.npy", np.random.default_rng(0).normal(size=(60, 8)))
    settings = (f"self.objective={objective}", f"{option}={_TOO_HIGH}", "self.num_heads=2")
    said = invoke(
        "self", "--embeddings", "features.npy", "--clusters", 3,
        *(part for setting in settings for part in ("--set", setting)),
    )  # fmt: skip
    assert said.exit_code == 2
    assert _advice(said.stderr) == ("self", option)

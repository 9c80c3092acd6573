"""The tool that watches a long life: it tells growth from a process that warms up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.soak import Sample, growth, problems, sample


def test_what_only_warms_up_has_not_grown() -> None:
    memory = [100, 300, 390, 400, 401, 400, 402, 401]
    samples = [Sample(value, 9, 500 + value % 3, 1) for value in memory]
    assert problems(samples) == []
    assert growth(memory) == pytest.approx(0.0025, abs=0.001)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory", "memory grew by"),
        ("files", "files grew from 4 to 7"),
        ("logs", "logs grew from 400 to 700"),
        ("checkpoints", "checkpoints grew from 4 to 7"),
    ],
)
def test_each_kind_of_growth_is_told(name: str, text: str) -> None:
    flat = {"memory": 1000, "files": 3, "logs": 10, "checkpoints": 1}
    factor = 100 if name in ("memory", "logs") else 1
    samples = [Sample(**flat | {name: number * factor}) for number in range(8)]
    (found,) = problems(samples)
    assert found.startswith(text)


def test_this_process_and_a_run_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("12345")
    (tmp_path / "checkpoints" / "self" / "epoch-1").mkdir(parents=True)
    before = sample(tmp_path)
    with (tmp_path / "metrics.jsonl").open():
        assert sample(tmp_path).files == before.files + 1
    assert (before.logs, before.checkpoints) == (5, 1)
    assert before.memory > 2**20

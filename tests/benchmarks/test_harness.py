"""The harness: turns, ratios, processes that fail."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import Comparison, Target, in_turns, measure, ratios
from benchmarks.workers import Contender, Seconds, Unavailable, ask, threads_limited
from tests.benchmarks import works

pytestmark = pytest.mark.integration  # a process a contender


def _comparison(*contenders: Contender, **options: object) -> Comparison:
    targets = [Target(contenders[0].name, other.name, 1.5) for other in contenders[1:]]
    fields = {"name": "row", "title": "Row", "turn": "a nap", "rounds": 3, "warm_ups": 1}
    return Comparison(contenders=contenders, targets=targets, **fields | options)  # type: ignore[arg-type]


def test_turns_alternate_and_turn_round() -> None:
    order: list[str] = []

    def work(name: str) -> Seconds:
        order.append(name)
        return Seconds(float(len(order)), 0.0)

    seconds = in_turns({"a": lambda: work("a"), "b": lambda: work("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [turn.wall for turn in seconds["a"]] == [1.0, 4.0, 5.0]


def test_a_ratio_is_of_turns_of_the_same_round() -> None:
    # The machine is slow in the second round: either side's median alone would mislead.
    found = ratios([1.0, 10.0, 1.0, 1.0], [2.0, 30.0, 2.0, 4.0])
    assert found == {"median": 2.5, "lowest": 2.0, "highest": 4.0}


def test_the_faster_side_has_a_ratio_above_one() -> None:
    quick = Contender("quick", works.sleeper, {"seconds": 0.0})
    slow = Contender("slow", works.sleeper, {"seconds": 0.05})
    result = measure(_comparison(quick, slow, items=10, check=lambda: "the same"), rounds=2)
    ours, others = (each["seconds"] for each in result["contenders"])
    assert len(ours) == len(others) == result["rounds"] == 2
    assert min(others) >= 0.05, "it slept"
    assert result["targets"][0]["ratio"] == ratios(ours, others)
    assert result["contenders"][1]["rate"] == pytest.approx(10 / np.median(others))
    assert result["checked"] == "the same"


def test_processor_time_leaves_out_waiting() -> None:
    asleep = Contender("asleep", works.sleeper, {"seconds": 0.1})
    busy = Contender("busy", works.spinner, {"seconds": 0.1})
    result = measure(_comparison(asleep, busy))
    idle, spent = (each["processor_seconds"] for each in result["contenders"])
    assert result["targets"][0]["processor_ratio"] == ratios(idle, spent)
    for processor, clock in zip(idle, result["contenders"][0]["seconds"], strict=True):
        assert processor <= clock - 0.09, "asleep for a tenth of a second"
    assert min(spent) >= 0.1


def test_a_share_stands_for_the_whole() -> None:
    tenth = Contender("tenth", works.sleeper, {"seconds": 0.05}, share=0.1)
    result = measure(_comparison(tenth))
    assert min(result["contenders"][0]["seconds"]) >= 0.5


def test_a_missing_library_is_said_and_the_rest_measured() -> None:
    here = Contender("here", works.sleeper, {"seconds": 0.0})
    result = measure(_comparison(here, Contender("gone", works.without_library)))
    assert result["missing"] == {"gone": "nowhere is not installed"}
    assert result["targets"][0]["ratio"] is None
    with pytest.raises(Unavailable, match="nowhere"):
        ask(works.without_library)


def test_a_failing_side_fails_the_row() -> None:
    with pytest.raises(RuntimeError, match="no good"):
        measure(_comparison(Contender("bad", works.broken)))


def test_a_failed_check_fails_the_row() -> None:
    def check() -> str:
        raise AssertionError("not the same")

    with pytest.raises(AssertionError, match="not the same"):
        measure(_comparison(Contender("any", works.sleeper, {"seconds": 0.0}), check=check))


def test_threads_are_limited_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    with threads_limited(1):
        assert ask(works.environment, "OMP_NUM_THREADS") == "1"
        assert ask(works.environment, "TF_NUM_INTRAOP_THREADS") == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_what_a_side_leaves_behind_goes_with_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    measure(_comparison(Contender("litter", works.litter, {"note": str(note)})))
    assert not Path(note.read_text(encoding="utf-8")).exists()

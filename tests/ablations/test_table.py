"""The tables of ablations: means, deviations, and what is missing."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest

from spice_keras.ablations.table import (
    ABLATION_HEADER,
    TRIAL_HEADER,
    ablation_markdown,
    ablation_rows,
    summary,
    trial_rows,
)
from spice_keras.config.settings import read_setting
from spice_keras.report.formatting import MISSING


def _trial(number: int, acc: float) -> dict[str, Any]:
    figures = {"acc": acc, "nmi": acc / 2, "ari": -acc}
    return {"trial": number, "seed": 7 + number, **figures, "seconds": 1.5}


def _row(accuracies: list[float], **facts: Any) -> dict[str, Any]:
    trials = [_trial(number, acc) for number, acc in enumerate(accuracies)]
    row = {"table": "Table 4", "title": "CE", "overrides": {"self.loss": "softmax"}, "paper": None}
    return {**row, "trials": trials, **summary(trials), **facts}


def _results(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"name": "digits", "seeds": [7, 8], "pretrain_once": False, "rows": rows, "errors": []}


def test_the_deviation_is_that_of_a_sample() -> None:
    found = summary([_trial(0, 0.5), _trial(1, 0.7), _trial(2, 0.9)])
    assert found["mean"] == pytest.approx({"acc": 0.7, "nmi": 0.35, "ari": -0.7})
    assert found["deviation"]["acc"] == pytest.approx(statistics.stdev([0.5, 0.7, 0.9]))


def test_one_trial_has_no_deviation_and_none_no_mean() -> None:
    assert summary([_trial(0, 0.5)])["deviation"] == dict.fromkeys(("acc", "nmi", "ari"))
    assert summary([])["mean"] == dict.fromkeys(("acc", "nmi", "ari"))


def test_a_line_for_each_row() -> None:
    lines = ablation_rows(
        {
            "ce": _row([0.5, 0.7], paper=(0.875, 0.784, 0.764)),
            "one": _row([0.5], title="One"),
            "none": _row([], title="None"),
        }
    )
    assert all(len(line) == len(ABLATION_HEADER) for line in lines)
    assert lines[0] == ["CE", "0.600±0.141", "0.300±0.071", "-0.600±0.141", "2", "0.875"]
    assert lines[1] == ["One", "0.500", "0.250", "-0.500", "1", MISSING]
    assert lines[2] == ["None", MISSING, MISSING, MISSING, "0", MISSING]


def test_markdown_has_a_table_for_each_of_the_papers() -> None:
    results = _results(ce=_row([0.5]), semi=_row([0.9], table="Table 3", overrides={}))
    text = ablation_markdown(results)
    assert text.index("## Table 4") < text.index("## Table 3")
    assert f"| `ce` | CE | 0.500 | 0.250 | -0.500 | 1 | {MISSING} | `self.loss=softmax` |" in text
    assert "Seeds 7, 8, an encoder for each." in text
    assert "Not finished" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    once = ablation_markdown({**results, "pretrain_once": True, "errors": ["ce: diverged"]})
    assert "one encoder for all" in once
    assert "- ce: diverged" in once


def test_options_are_written_as_the_command_takes_them() -> None:
    overrides = {
        "self.weak": {"policy": "upright", "rotate": 3.0, "fill": None},
        "self.cached_views": None,
        "self.entropy_weight": 1.0,
    }
    text = ablation_markdown(_results(row=_row([0.5], overrides=overrides)))
    settings = re.findall(r"`(self\.[^`]+)`", text)
    assert {one.path: one.value for one in map(read_setting, settings)} == overrides


def test_the_table_of_trials_has_a_line_for_each() -> None:
    lines = trial_rows(_results(ce=_row([0.5, 0.75])))
    assert all(len(line) == len(TRIAL_HEADER) for line in lines)
    assert lines[1] == ["Table 4", "ce", "CE", 1, 8, 0.75, 0.375, -0.75, 1.5]

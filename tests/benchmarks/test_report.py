"""The page that is made of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machine, report


def _result(median: float, processor: float, **more: Any) -> dict[str, Any]:
    spread = {"lowest": 1.0, "highest": 20.0}
    return {
        "name": "row",
        "title": "A row",
        "turn": "a nap",
        "rounds": 7,
        "threads": 1,
        "unit": "naps",
        "command": "python -m benchmarks.run row --threads 1",
        "date": "2026-01-01",
        "machine": machine.describe(),
        "contenders": [{"name": "ours", "seconds": [1.0, 2.0, 4.0], "rate": 1234.5}],
        "targets": [
            {
                "ours": "spice_keras, fast",
                "against": "other",
                "at_least": 2.0,
                "ratio": {"median": median} | spread,
                "processor_ratio": {"median": processor} | spread,
            }
        ],
    } | more


def _row(page: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith("| A row |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_names_target_ratio_spread_rounds_and_command() -> None:
    cells = _row(report.render([_result(3.0, 2.5)]))
    assert cells[1:5] == ["fast", "other", "2", "3.00 (1.00 to 20)"]
    assert cells[5] == "2.50 (1.00 to 20)"
    assert cells[6:9] == ["yes", "1", "7"]
    assert cells[9] == "`run row --threads 1`"


def test_results_of_two_machines_say_which_is_whose() -> None:
    other = machine.describe() | {"processor": "Another One", "instructions": ["avx2"]}
    mine, theirs = _result(3.0, 2.5), _result(3.0, 2.5, title="B row", machine=other)
    page = report.render([mine, theirs])
    assert _row(page)[10] == machine.describe()["processor"]
    assert "2026-01-01, Another One (avx2)." in page
    assert "Another One (avx2)." not in report.render([theirs])


def test_a_target_is_met_by_the_clock_and_by_processor_time_or_not_at_all() -> None:
    assert _row(report.render([_result(1.9, 5.0)]))[6] == "no"
    assert _row(report.render([_result(5.0, 1.9)]))[6] == "no"


def test_rows_that_were_not_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text(json.dumps(_result(3.0, 3.0)), encoding="utf-8")
    page = tmp_path / "page.md"
    report.write(tmp_path, ["row", "another_1000000"], page)
    text = page.read_text(encoding="utf-8")
    assert "Not run: `another_1000000`." in text
    assert "1,234" in text  # the rate
    assert "| 2 | 1 | 4 |" in text  # median, lowest, highest


def test_a_contender_without_its_library_is_reported() -> None:
    target = {
        "ours": "ours", "against": "other", "at_least": 2.0, "ratio": None, "processor_ratio": None
    }  # fmt: skip
    result = _result(1.0, 1.0, targets=[target], missing={"other": "torch is not installed"})
    page = report.render([result])
    assert _row(page)[4:7] == ["not run", "not run", ""]
    assert "other: not run, torch is not installed." in page
    assert "torch is not installed" in report.summary(result)


def test_machine_says_what_it_is() -> None:
    found = machine.describe()
    assert found["cores"] >= 1
    assert "numpy" in found["versions"]
    page = report.render([_result(1.0, 1.0)])
    assert found["processor"] in page


def _growth(count: int) -> dict[str, Any]:
    parts = {"ours": {"seconds": count / 100, "megabytes": 5.0}}
    if count < 50:
        parts["exact"] = {"seconds": 1.0, "megabytes": 1.0}
    return _result(1.0, 1.0, growth={"count": count, "costs": parts})


def test_growth_is_drawn_from_two_sizes_on(tmp_path: Path) -> None:
    page, figure = tmp_path / "page.md", tmp_path / report.GROWTH
    for number, count in enumerate((100, 10)):
        (tmp_path / f"n{number}.json").write_text(json.dumps(_growth(count)), encoding="utf-8")
        report.write(tmp_path, ["n0", "n1"], page)
        assert figure.exists() == (number == 1)
        assert (f"]({report.GROWTH})" in page.read_text("utf-8")) == (number == 1)
    first = figure.read_bytes()
    assert b"<svg" in first
    report.write(tmp_path, ["n0", "n1"], page)
    assert figure.read_bytes() == first

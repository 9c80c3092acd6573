from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from spice_keras.csv_cells import escaped_cell, plain_cell
from spice_keras.files import write_csv

TRIGGERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("first", TRIGGERS)
@pytest.mark.parametrize("rest", ["", "cmd|' /C calc'!A0", "1+1", "SUM(A1)", "'x"])
def test_what_a_spreadsheet_would_run_is_escaped(first: str, rest: str) -> None:
    assert escaped_cell(first + rest) == f"'{first}{rest}"


@pytest.mark.parametrize(
    "cell", ["-1", "+2.5", "-.5", "-1e-9", "0.25", "cat.png", "a=b", "", " =", "'a'", -3, 2.5, None]
)
def test_numbers_and_other_texts_stay(cell: Any) -> None:
    assert escaped_cell(cell) == cell


@settings(max_examples=300)
@given(st.text(st.sampled_from(TRIGGERS + "'a1. "), max_size=6))
@example("''=x")
@example("'=x")
def test_the_text_comes_back(text: str) -> None:
    cell = escaped_cell(text)
    assert plain_cell(cell) == text
    assert cell[:1] not in set(TRIGGERS) or float(cell) is not None


def test_every_table_is_escaped(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ["image", "=head"], [["=1+1.png", -1], ["-0.5", "@x"]])
    text = (tmp_path / "x.csv").read_text("utf-8")
    assert list(csv.reader(io.StringIO(text))) == [
        ["image", "'=head"],
        ["'=1+1.png", "-1"],
        ["-0.5", "'@x"],
    ]

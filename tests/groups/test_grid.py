from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.groups import grid as module
from spice_keras.groups.grid import check_grid, cluster_grid, usual_largest


@given(smallest=st.integers(2, 80), width=st.integers(1, 300))
def test_ascends_from_end_to_end_and_leaves_out_no_number_up_to_12(
    smallest: int, width: int
) -> None:
    grid = cluster_grid(smallest, smallest + width)
    assert (grid[0], grid[-1]) == (smallest, smallest + width)
    steps = np.diff(grid)
    assert (steps >= 1).all()
    assert (steps[np.array(grid[1:]) <= 12] == 1).all()
    assert (np.array(grid[1:]) <= 1.3 * np.array(grid[:-1]) + 1).all()


def test_usual_range() -> None:
    assert cluster_grid(2, 30) == (*range(2, 13), 14, 16, 19, 22, 26, 30)
    assert [usual_largest(number) for number in (2000, 299, 40)] == [30, 29, 4]


@pytest.mark.parametrize("ends", [(8, 3), (5, 5), (1, 4), (0, 9), (-3, 2)])
def test_refuses_a_range_that_is_none(ends: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"--from, --to.*from {ends[0]} to {ends[1]}"):
        cluster_grid(*ends)


def rows(distinct: int, copies: int) -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((distinct, 4))
    return np.repeat(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), copies, axis=0)


@pytest.mark.parametrize(
    ("points", "largest", "message"),
    [
        (rows(1, 100), 5, "All 100 rows .* same direction"),
        (rows(4, 25), 5, "expected at most 4 .*Received: 5"),
        (rows(100, 1), 11, "100 items can show at most 10 clusters .*Received: 11"),
    ],
    ids=["constant", "few distinct", "too fine"],
)
def test_refuses_what_the_data_cannot_answer(
    points: np.ndarray, largest: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_grid(largest, points)


def test_accepts_the_largest_range_of_the_data() -> None:
    check_grid(10, rows(100, 1))
    check_grid(4, rows(4, 25))


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0

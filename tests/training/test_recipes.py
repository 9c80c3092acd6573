"""The numbers of a fit for any number of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spice_keras.training.recipes import recipe


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_more_rows_never_take_more_epochs(some: int, others: int) -> None:
    fewer, more = sorted((some, others))
    epochs = [recipe("neighbors", rows).epochs for rows in (fewer, more)]
    assert 10 <= epochs[1] <= epochs[0] <= 60
    assert recipe("prototypes", fewer) == recipe("prototypes", more)


def test_known_numbers() -> None:
    epochs = {rows: recipe("neighbors", rows).epochs for rows in (2, 15_000, 30_000, 100_000)}
    assert epochs == {2: 60, 15_000: 60, 30_000: 30, 100_000: 10}

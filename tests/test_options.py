"""The numbers of a fit for any number of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spice_keras.options import head_training, pairs_per_step


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_more_rows_never_take_more_epochs(some: int, others: int) -> None:
    fewer, more = sorted((some, others))
    epochs = [head_training("neighbors", rows, 10).epochs for rows in (fewer, more)]
    assert 10 <= epochs[1] <= epochs[0] <= 60
    assert head_training("prototypes", fewer, 10) == head_training("prototypes", more, 900)


def test_known_numbers() -> None:
    epochs = {
        rows: head_training("neighbors", rows, 10).epochs for rows in (2, 15_000, 30_000, 100_000)
    }
    assert epochs == {2: 60, 15_000: 60, 30_000: 30, 100_000: 10}


def test_a_step_of_many_clusters_takes_ten_pairs_for_each() -> None:
    """Else the entropy of a batch says little of them, and one cluster swallows others."""
    found = {k: pairs_per_step(k) for k in (1, 10, 25, 26, 200)}
    assert found == {1: 256, 10: 256, 25: 256, 26: 260, 200: 2000}
    assert head_training("neighbors", 10_000, 200).batch_size == 2000

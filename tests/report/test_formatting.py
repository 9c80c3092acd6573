from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.report.formatting import (
    MISSING,
    cluster_list,
    decimal,
    duration,
    finite,
    percent,
    percent_shares,
    plain,
    quantity,
    shortened_middle,
)


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), np.float32("nan"), "0.5", True, 10**400]
)
def test_what_is_no_finite_number_is_missing(value: object) -> None:
    assert finite(value) is None
    assert decimal(value) == percent(value) == duration(value) == MISSING


@pytest.mark.parametrize("value", [0, 0.0, np.float32(0), np.int64(0)])
def test_zero_is_a_number(value: object) -> None:
    assert decimal(value) == "0.000"
    assert percent(value) == "0.0\N{NO-BREAK SPACE}%"


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200))
def test_printed_shares_add_up_to_one_hundred_and_stay_within_a_tenth(counts: list[int]) -> None:
    shares = percent_shares(counts)
    tenths = [int(re.sub(r"\D", "", share)) for share in shares]
    assert sum(tenths) == (1000 if sum(counts) else 0)
    for share, part in zip(tenths, counts, strict=True):
        assert abs(share - 1000 * part / max(sum(counts), 1)) < 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (8.26, "8.3 s"),
        (59.97, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.9, "1 h 0 min"),
        (4830, "1 h 20 min"),
    ],
)
def test_durations_carry_over(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plural_follows_the_count() -> None:
    assert quantity(1, "image") == "1 image"
    assert quantity(1200, "image") == "1,200 images"
    assert quantity(0, "image") == "0 images"


def test_settings_are_written_as_text() -> None:
    assert plain({"a": [1, 2.50], "b": None}) == f"a: 1, 2.5, b: {MISSING}"
    assert plain([]) == "none"
    assert plain(np.asarray([True, False])) == "yes, no"
    assert plain(float("nan")) == MISSING


@given(st.text(max_size=60), st.integers(3, 50))
def test_a_long_name_keeps_both_ends_and_fits(text: str, limit: int) -> None:
    short = shortened_middle(text, limit)
    if len(text) <= limit:
        assert short == text
    else:
        assert len(short) == limit
        start, end = short.split("\N{HORIZONTAL ELLIPSIS}", 1) if "\u2026" not in text else ("", "")
        assert text.startswith(start)
        assert text.endswith(end)


def test_more_of_the_end_of_a_name_is_kept() -> None:
    assert (
        shortened_middle("embeddings/part-000/row-17", 13) == "embe\N{HORIZONTAL ELLIPSIS}0/row-17"
    )


def test_many_clusters_are_not_all_named() -> None:
    assert cluster_list([3]) == "cluster 3"
    assert cluster_list(range(12)).endswith(" 10, 11")
    assert cluster_list(range(5, 1000), limit=2) == "clusters 5, 6 and 993 more"

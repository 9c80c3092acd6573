"""The other clusterings that the heads are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines import BASELINES, compared, table
from benchmarks.guide import drawn_kinds, drawn_rows

_LABELS = np.repeat(np.arange(3), 30)
_ROWS = np.eye(3, 12)[_LABELS] + 0.05 * np.random.default_rng(0).normal(size=(90, 12))


def test_every_baseline_finds_plain_groups() -> None:
    found = compared(_ROWS, _LABELS, 0, heads=False)
    assert found.keys() == BASELINES.keys()
    for acc, ari, _, _ in found.values():
        assert acc == pytest.approx(1.0, abs=0.05)
        assert ari == pytest.approx(1.0, abs=0.1)
    assert [clusters for _, _, clusters, _ in found.values()][:3] == [3, 3, 3]


def test_the_table_has_means_and_ranges() -> None:
    lines = table("steel", [{"Ward": (0.5, 0.2, 6, 1.0)}, {"Ward": (0.7, 0.4, 8, 3.0)}])
    assert lines == ["| steel | Ward | 0.600 (0.500 - 0.700) | 0.300 | 7 | 2.0 |"]


def test_classes_and_rows_are_drawn() -> None:
    rows = drawn_kinds(_LABELS, 2, seed=1)
    assert len(np.unique(_LABELS[rows])) == 2
    assert len(rows) == 60
    assert np.bincount(_LABELS[drawn_rows(_LABELS, 30, 1.0, seed=0)]).tolist() == [10, 10, 10]

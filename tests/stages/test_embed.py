"""More clusters than distinct items: refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.stages.embed import refuse_too_few_kinds

_THREE = np.eye(3, 5)[np.arange(30) % 3]


@pytest.mark.parametrize("clusters", [2, 3])
def test_as_many_clusters_as_distinct_items_are_allowed(clusters: int) -> None:
    refuse_too_few_kinds(_THREE, clusters)


def test_more_clusters_than_distinct_items_are_refused() -> None:
    with pytest.raises(UserError, match=r"30 items have only 3 different .* at most 3 with"):
        refuse_too_few_kinds(_THREE, 4)


def test_constant_features_are_refused() -> None:
    with pytest.raises(UserError, match="All 12 items have the same features"):
        refuse_too_few_kinds(np.ones((12, 4)), 2)


def test_the_last_block_counts() -> None:
    rows = np.zeros((5000, 2))
    rows[-1] = 1.0
    refuse_too_few_kinds(rows, 2)

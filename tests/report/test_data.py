from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spice_keras.words.naming import ClusterName
from tests.report.run_data import embedding_run, report_data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence", np.zeros(59, np.float32)),
        ("agrees", np.ones(61, bool)),
        ("images", np.zeros((59, 16, 16, 3), np.uint8)),
        ("counts", [1, 2, 3]),
        ("clusters", np.full(60, -1, np.int32)),
        ("points", np.zeros((59, 2), np.float32)),
        ("indices", np.full(60, 60)),
        ("prototypes", {0: np.asarray([60])}),
        ("names", ["one"]),
        ("cluster_names", [ClusterName("one")]),
        ("labels", np.zeros(59, int)),
    ],
)
def test_arrays_of_another_run_are_refused(field: str, value: Any) -> None:
    whole = report_data()
    parts = (whole.items, whole.clustering, whole.reliable, whole.embedding_map, whole.classes)
    part: Any = next(part for part in parts if hasattr(part, field))
    name = next(name for name, held in vars(whole).items() if held is part)

    def change() -> None:
        # A part may be sound in itself, and of another run than the rest.
        dataclasses.replace(whole, **{name: dataclasses.replace(part, **{field: value})})

    with pytest.raises(ValueError, match=f"`{field}` must.*Received"):
        change()


def test_reliable_members_never_exceed_the_cluster() -> None:
    clustering = report_data(counts=[1000, 0, 0, 0]).clustering
    assert (clustering.reliable_members <= clustering.sizes).all()
    assert clustering.reliable_members.sum() == clustering.reliable.sum()
    assert clustering.sizes.sum() == 60


@pytest.mark.parametrize(
    ("clusters", "is_collapsed"),
    [(np.full(60, 2), True), (np.arange(60) % 2, False), (np.arange(60) % 4, False)],
)
def test_a_collapse_is_one_cluster_with_everything(
    clusters: np.ndarray, is_collapsed: bool
) -> None:
    data = report_data(clusters=clusters.astype(np.int32))
    assert data.clustering.is_collapsed == is_collapsed


def test_items_are_images_only_where_there_are_images() -> None:
    items = report_data().items
    assert (items.noun, items.image_size) == ("image", 16)
    items = embedding_run().items
    assert (items.noun, items.image_size, len(items)) == ("item", 0, 60)

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spice_keras.report.content import ReportData, final_method
from tests.report.run_data import embedding_run, figures_row, report_data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence", np.zeros(59, np.float32)),
        ("reliable_counts", [1, 2, 3]),
        ("clusters", np.full(60, -1, np.int32)),
        ("map_indices", np.full(60, 60)),
        ("prototypes", {0: np.asarray([60])}),
        ("class_names", ["one"]),
    ],
)
def test_arrays_of_another_run_are_refused(field: str, value: Any) -> None:
    fields = {
        item.name: getattr(report_data(), item.name) for item in dataclasses.fields(ReportData)
    }
    with pytest.raises(ValueError, match=f"`{field}.*Received"):
        ReportData(**(fields | {field: value}))


def test_reliable_members_never_exceed_the_cluster() -> None:
    data = report_data(reliable_counts=[1000, 0, 0, 0])
    assert (data.reliable_members <= data.cluster_sizes).all()
    assert data.reliable_members.sum() == data.reliable.sum()
    assert data.cluster_sizes.sum() == data.num_images


def test_the_run_ends_with_semi_where_it_was_measured() -> None:
    row = figures_row()
    assert final_method({"self": row, "semi": row}) == "semi"
    assert final_method({"self": row, "semi": None}) == "self"
    assert final_method({"self": row}) == "self"
    assert final_method({"kmeans_pixels": row}) is None


def test_items_are_images_only_where_there_are_images() -> None:
    assert report_data().item == "image"
    data = embedding_run()
    assert (data.item, data.num_images) == ("item", 60)
    with pytest.raises(ValueError, match="`agrees` must have 60 entries"):
        dataclasses.replace(data, agrees=np.ones(59, bool))

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.report.captions import figure_caption
from spice_keras.report.content import ReportData
from spice_keras.report.figures import save_figures
from tests.report.run_data import embedding_run, head_curves, report_data


@pytest.mark.parametrize(
    "data",
    [
        report_data(),
        report_data(map_labels=None, class_names=None, confusion=None, matching=None),
        embedding_run(heads={"self": head_curves(), "refine": head_curves()}),
    ],
    ids=["labels", "no labels", "embeddings"],
)
def test_every_figure_has_a_title_a_caption_and_a_text_for_who_cannot_see_it(
    data: ReportData, tmp_path: Path
) -> None:
    for name in save_figures(data, tmp_path):
        caption = figure_caption(name, data)
        assert min(len(caption.title), len(caption.text), len(caption.alternative)) > 8, name
        assert caption.text.endswith("."), name
        assert caption.alternative.endswith("."), name


def test_runs_without_images_are_not_told_of_any() -> None:
    data = embedding_run(map_labels=None)
    for name in ("cluster_sizes", "reliable_share", "embedding_map", "reliable_map", "trust_map"):
        caption = figure_caption(name, data)
        assert "image" not in caption.text + caption.alternative, name


def test_the_maps_are_coloured_by_class_only_with_labels() -> None:
    assert "coloured by class" in figure_caption("reliable_map", report_data()).text
    bare = report_data(map_labels=None)
    assert "coloured by cluster" in figure_caption("reliable_map", bare).text
    assert "ACC" not in figure_caption("reliable_map", bare).text


def test_many_clusters_are_told_of_what_is_left_out() -> None:
    clusters = np.arange(60, dtype=np.int32)
    data = report_data(num_clusters=60, clusters=clusters, matching=None, map_labels=None)
    assert "20 largest clusters" in figure_caption("prototypes", data).text
    assert "how many clusters have which size" in figure_caption("cluster_sizes", data).text
    assert "largest clusters" not in figure_caption("prototypes", report_data()).text

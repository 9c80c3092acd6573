from __future__ import annotations

import numpy as np
import pytest

from spice_keras.report.data import ReportData
from tests.report.run_data import captions, embedding_run, head_curves, label_free, report_data


@pytest.mark.parametrize(
    "data",
    [
        report_data(),
        label_free(),
        embedding_run(heads={"self": head_curves(), "refine": head_curves()}),
    ],
    ids=["labels", "no labels", "embeddings"],
)
def test_every_figure_has_a_title_a_caption_and_a_text_for_who_cannot_see_it(
    data: ReportData,
) -> None:
    for name, caption in captions(data).items():
        assert min(len(caption.title), len(caption.text), len(caption.alternative)) > 8, name
        assert caption.text.endswith("."), name
        assert caption.alternative.endswith("."), name


def test_runs_without_images_are_not_told_of_any() -> None:
    found = captions(embedding_run(labels=None))
    for name in ("cluster_sizes", "reliable_share", "embedding_map", "reliable_map", "trust_map"):
        assert "image" not in found[name].text + found[name].alternative, name


def test_the_maps_are_coloured_by_class_only_with_labels() -> None:
    assert "coloured by class" in captions(report_data())["reliable_map"].text
    bare = captions(label_free())["reliable_map"]
    assert "coloured by cluster" in bare.text
    assert "ACC" not in bare.text


def test_many_clusters_are_told_of_what_is_left_out() -> None:
    clusters = np.arange(60, dtype=np.int32)
    found = captions(report_data(num_clusters=60, clusters=clusters, labels=None))
    assert "20 largest clusters" in found["prototypes"].text
    assert "how many clusters have which size" in found["cluster_sizes"].text
    assert "largest clusters" not in captions(report_data())["prototypes"].text

"""Evaluation: which labels it reads, and what the report is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.backbones.factory import build_backbone
from spice_keras.errors import UserError
from spice_keras.report.setup import EncoderSetup, HeadSetup, SemiSetup
from spice_keras.run.context import Context
from spice_keras.run.networks import save_network
from spice_keras.run.results import final_result
from spice_keras.run.store import Evaluation
from spice_keras.stages.evaluate import evaluate
from spice_keras.stages.figures import embedding_map
from spice_keras.stages.labels import read_labels
from spice_keras.stages.reliable import select_reliable
from spice_keras.stages.report_data import labelled_classes, report_data
from spice_keras.stages.unusual import find_unusual
from tests.stages.made_run import (
    COUNT,
    PER_CLUSTER,
    make_context,
    truth,
    write_heads,
    write_network,
)

_SMALL = {
    "backbone__name": "small_resnet",
    "backbone__width": 2,
    "semi__init": "scratch",
    "evaluate__map_method": "pca",
}


def _finished(
    path: Path,
    clusters: np.ndarray | None = None,
    confidence: float | np.ndarray = 0.999,
    **options: Any,
) -> Context:
    clusters = truth() if clusters is None else clusters
    context = make_context(path, **{**_SMALL, **options})
    write_heads(context, clusters, confidence)
    select_reliable(context)
    write_network(context, clusters)
    return context


def _arrays(path: Path, **arrays: Any) -> dict[str, Any]:
    ids = np.array([f"photos/{row:02d}.png" for row in range(COUNT)])
    images = np.zeros((COUNT, 4, 4), np.uint8)
    np.savez(path / "x.npz", images=images, ids=ids, **arrays)
    return {"data__source": "arrays", "data__path": str(path / "x.npz")}


def test_a_folder_has_labels_only_where_they_are_asked_for(tmp_path: Path) -> None:
    assert read_labels(make_context(tmp_path / "a")) is None
    labels = read_labels(make_context(tmp_path / "b", data__labels="from-folders"))
    assert labels is not None
    assert labels.class_names == ("photos",)
    assert read_labels(make_context(tmp_path / "c", data__labels="none")) is None


def test_an_array_file_has_those_it_holds(tmp_path: Path) -> None:
    options = _arrays(tmp_path)
    assert read_labels(make_context(tmp_path / "a", **options)) is None
    options = _arrays(tmp_path, labels=truth()[::-1])
    labels = read_labels(make_context(tmp_path / "b", **options))
    assert labels is not None
    np.testing.assert_array_equal(labels.values, truth()[::-1])
    assert read_labels(make_context(tmp_path / "c", **options, data__labels="none")) is None


def _metrics(context: Context) -> dict[str, Any]:
    evaluate(context)
    found: dict[str, Any] = json.loads((context.run.path / "metrics.json").read_text())
    return found


def test_what_is_unknown_enters_no_figure(tmp_path: Path) -> None:
    """Neither as a class of its own in the matching, nor in the table, nor among the reliable."""
    clusters = truth()
    clusters[:12] = (clusters[:12] + 1) % 3
    labels = truth().astype(str)
    labels[:12] = "-1"
    context = _finished(tmp_path, clusters, **_arrays(tmp_path, labels=labels))
    found = _metrics(context)
    for figures in (found["semi"], found["self"], found["reliable"]):
        assert figures["acc"] == 1.0
    assert found["semi"]["purity"] == found["semi"]["nmi"] == 1.0
    page = (context.run.path / "report.html").read_text("utf-8")
    assert ">-1<" not in page


def test_labels_that_are_all_unknown_are_none(tmp_path: Path) -> None:
    labels = np.full(COUNT, -1)
    options = _arrays(tmp_path, labels=labels)
    assert read_labels(make_context(tmp_path / "a", **options)) is None
    assert _metrics(_finished(tmp_path / "b", **options))["semi"]["acc"] is None


def test_no_known_label_among_the_reliable_ones_is_no_accuracy(tmp_path: Path) -> None:
    confidence = np.where(np.arange(COUNT) < 18, 0.999, 0.4)
    labels = np.where(np.arange(COUNT) < 18, -1, truth())
    context = _finished(tmp_path, confidence=confidence, **_arrays(tmp_path, labels=labels))
    found = _metrics(context)
    assert 0 < found["reliable"]["count"] <= 18
    assert found["reliable"]["acc"] is None
    assert found["semi"]["acc"] == 1.0


def test_labels_that_do_not_match_the_images_are_refused(tmp_path: Path) -> None:
    options = _arrays(tmp_path, labels=truth()[:-1])
    with pytest.raises(UserError, match="labels"):
        read_labels(make_context(tmp_path / "a", **options))


def test_evaluation_leaves_figures_table_and_report(tmp_path: Path) -> None:
    context = _finished(tmp_path, **_arrays(tmp_path, labels=truth()))
    evaluate(context)
    metrics = json.loads((context.run.path / "metrics.json").read_text())
    assert metrics == context.load(Evaluation).metrics
    assert metrics["semi"]["acc"] == 1.0
    assert len((context.run.path / "assignments.csv").read_text().splitlines()) == COUNT + 1
    report = (context.run.path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", report)
    assert "photos/00.png" in report
    names = {path.name for path in (context.run.path / "figures").iterdir()}
    assert {"confusion.png", "confusion.svg", "prototypes.png", "reliable_map.png"} <= names
    assert 'id="prototypes"' in report


def test_without_labels_no_figure_pretends_to_have_them(tmp_path: Path) -> None:
    context = _finished(tmp_path)
    (context.run.path / "figures").mkdir()
    (context.run.path / "figures" / "confusion.png").write_text("of an evaluation with labels")
    evaluate(context)
    metrics = context.load(Evaluation).metrics
    assert metrics["semi"]["acc"] is None
    assert metrics["semi"]["cluster_sizes"] == [PER_CLUSTER] * 3
    assert not list((context.run.path / "figures").glob("confusion*"))


def test_labels_of_which_none_is_known_are_none() -> None:
    assert labelled_classes(np.full(COUNT, -1, np.int32), ("a",), truth(), 3) is None
    one = np.where(np.arange(COUNT) == 5, 0, -1).astype(np.int32)
    classes = labelled_classes(one, ("a",), truth(), 3)
    assert classes is not None
    assert classes.confusion.tolist() == [[0, 0, 1]]
    assert classes.matching == {2: 0}


@pytest.mark.parametrize("labelled", [True, False])
def test_heads_that_collapsed_are_shown(tmp_path: Path, labelled: bool) -> None:
    options = _arrays(tmp_path, labels=truth()) if labelled else {}
    context = make_context(
        tmp_path, **{**_SMALL, **options, "semi__enabled": False, "self__start": "kmeans"}
    )
    clusters = np.ones(COUNT, np.int32)
    write_heads(context, clusters)
    size = context.config.data.image_size
    with context.run.write("encoder", stage="pretrain") as folder:
        network = build_backbone("small_resnet", image_size=size, width=2, seed=0)
        save_network(folder, network, context.config.backbone, image_size=size)
    select_reliable(context)
    evaluate(context)
    metrics = context.load(Evaluation).metrics
    assert metrics["self"]["cluster_sizes"] == [0, COUNT, 0]
    assert metrics["self"]["acc"] == (pytest.approx(1 / 3) if labelled else None)
    assert metrics["self"]["silhouette"] is None
    assert metrics["reliable"]["per_cluster"] == [0, COUNT, 0]
    report = (context.run.path / "report.html").read_text(encoding="utf-8")
    assert "The clustering collapsed: every image is in one cluster" in report
    assert f"All {COUNT} images are in cluster 1; the other 2 clusters received none" in report
    assert "random weights" not in report
    names = {path.name for path in (context.run.path / "figures").iterdir()}
    assert {"cluster_sizes.png", "embedding_map.png"} <= names
    assert ("confusion.png" in names) == labelled


def test_the_setup_is_told_from_the_configuration(tmp_path: Path) -> None:
    context = _finished(tmp_path, self__loss="softmax", self__start="kmeans", self__num_heads=2)
    result = final_result(context)
    data = report_data(
        context,
        result,
        placed=lambda: embedding_map(context, result.embeddings),
        unusual=find_unusual(context),
        classes=None,
        head_labels=None,
    )
    assert data.setup.heads == HeadSetup("prototypes", "kmeans", 2, "softmax", 0.0)
    assert data.setup.heads.loss_floor(3) is None
    assert data.setup.encoder == EncoderSetup("small_resnet", False, True)
    assert data.setup.semi == SemiSetup("reliable", context.config.semi.labels_per_class)
    assert data.setup.parts is None
    assert data.run.skipped == [("bad.png", "cut short")]
    assert "num_neighbors" in data.reliable.thresholds
    assert data.reliable.counts == [PER_CLUSTER] * 3


def test_what_was_not_evaluated_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spice eval --run-dir"):
        make_context(tmp_path).load(Evaluation)

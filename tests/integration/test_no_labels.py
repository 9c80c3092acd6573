"""Labels reach nothing that trains: right, wrong, absent or forbidden, the run is the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from spice_keras.data import labels as labels_module
from spice_keras.data.array_source import ArraySource
from spice_keras.data.sources import source_class
from spice_keras.options import SOURCES
from tests.integration.conftest import Finished, Stagewise, _label_readers
from tests.integration.tiny import artifact_files, figures, invoke, metrics

_AGAINST = ("acc", "balanced_acc", "nmi", "nmi_arithmetic", "ari", "purity")
_METHODS = ("self", "semi", "kmeans_embeddings", "kmeans_pixels")
# Metrics; and where the SavedModel lies, which is the run's own affair.
_OWN = ("evaluation", "export")


def _without_label_figures(found: dict[str, Any]) -> dict[str, Any]:
    for method in _METHODS:
        found[method] = {k: v for k, v in found[method].items() if k not in _AGAINST}
    found["self"].pop("before_refinement")
    found["reliable"] = {k: v for k, v in found["reliable"].items() if k != "acc"}
    return found


@pytest.mark.parametrize("variant", ["stagewise", "unlabelled"])
def test_other_labels_change_no_bit_of_what_was_trained(
    variant: str, finished: Finished, request: pytest.FixtureRequest
) -> None:
    other: Finished | Stagewise = request.getfixturevalue(variant)
    expected = artifact_files(finished.run, without=_OWN)
    assert {name.split("/")[0] for name in expected} == {
        "images", "encoder", "embeddings", "heads", "reliable", "classifier", "names",
    }  # fmt: skip
    assert artifact_files(other.run, without=_OWN) == expected
    assert figures(other.run) == figures(finished.run)
    for name in ("assignments.csv", "plan.json", "skipped.csv"):
        assert (other.run / name).read_bytes() == (finished.run / name).read_bytes()
    assert _without_label_figures(metrics(other.run)) == _without_label_figures(
        metrics(finished.run)
    )


def test_the_figures_against_labels_do_tell_them_apart(
    finished: Finished, stagewise: Stagewise, unlabelled: Finished
) -> None:
    """Otherwise the test above would compare a run with itself."""
    for method in _METHODS:
        right, wrong = metrics(finished.run)[method], metrics(stagewise.run)[method]
        assert right["acc"] > 0.6 > wrong["acc"]
        assert right["nmi"] > wrong["nmi"]
        assert all(metrics(unlabelled.run)[method][figure] is None for figure in _AGAINST)
    assert metrics(unlabelled.run)["reliable"]["acc"] is None


@pytest.mark.parametrize("command", ["pretrain", "self", "semi", "export"])
def test_no_stage_but_evaluation_reads_a_label(command: str, stagewise: Stagewise) -> None:
    """Every source and all functions of data/labels.py raised while these ran."""
    result = stagewise.results[command]
    assert result.exit_code == 0, result.output
    assert result.exception is None


def test_evaluation_does(stagewise: Stagewise) -> None:
    """The guard bites where labels are read, and nowhere else."""
    poisoned = stagewise.results["poisoned eval"]
    assert poisoned.exception == "AssertionError('labels were read')"
    assert stagewise.results["eval"].exit_code == 0


def test_what_was_trained_under_the_guard_is_the_same(
    finished: Finished, stagewise: Stagewise
) -> None:
    assert artifact_files(stagewise.run, without=_OWN) == artifact_files(finished.run, without=_OWN)


def test_labels_have_no_other_door() -> None:
    """What gives labels is one of the doors the guard closes."""
    public = {name for name in vars(labels_module) if name.endswith(("_labels", "values_of"))}
    assert public == {
        "column_labels", "folder_labels", "joined_labels", "named_labels", "values_of"
    }  # fmt: skip
    closed = {(getattr(holder, "__name__", ""), name) for holder, name in _label_readers()}
    assert {("spice_keras.data.labels", name) for name in public} <= closed
    assert {(source_class(name).__name__, "read_labels") for name in SOURCES} <= closed
    assert ("spice_keras.data.array_source", "column_labels") in closed


def test_true_labels_train_only_where_they_are_asked_for(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then SPICE-Semi alone: all before it is as it was, and every page says so."""
    monkeypatch.chdir(finished.run.parent)
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    config["semi"] |= {"labels_from": "source", "labels_per_class": 5, "steps": 5}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in ("classifier", "evaluation", "export"):
        shutil.rmtree(run / "artifacts" / name)
    with monkeypatch.context() as poison:
        poison.setattr(ArraySource, "read_labels", _refuse)
        refused = invoke("semi", "--run-dir", run, "--resume")
    assert str(refused.exception) == "labels were read"
    asked = invoke("semi", "--run-dir", run, "--resume")
    assert asked.exit_code == 0, asked.output
    assert "Note: SPICE-Semi trains on 15 true labels, as semi.labels_from asks" in asked.stderr
    judged = invoke("eval", "--run-dir", run)
    assert judged.exit_code == 0, judged.output
    assert "\nFixMatch, true labels " in "\n" + judged.stdout
    ours, theirs = (artifact_files(path, without=_OWN) for path in (run, finished.run))
    changed = {name.split("/")[0] for name in theirs if ours[name] != theirs[name]}
    assert changed == {"classifier"}
    assert metrics(run)["semi"]["labels_from"] == "source"
    assert metrics(run)["semi"]["labels_per_class"] == 5
    assert metrics(finished.run)["semi"]["labels_from"] == "reliable"
    page = (run / "report.html").read_text("utf-8")
    assert "True labels were used for training" in page
    assert "True labels were used" not in (finished.run / "report.html").read_text("utf-8")


def _refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("labels were read")

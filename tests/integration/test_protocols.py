"""Train, test and unlabelled images: who sees which, and what is reported."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.run import networks
from spice_keras.stages import pretrain, self_label, semi
from spice_keras.training import encoding
from tests.integration.conftest import _label_readers, _refuse, unverified
from tests.integration.tiny import CONFIG, artifact_files, invoke, metrics, shapes

# What the corner pixel of every image says.
_MARKS = {"test": 250, "train": 130, "extra": 10}
_TEST, _EXTRA, _COPIES = 40, 64, 5
_QUICK = {
    "pretrain.epochs": 1, "self.epochs": 1, "self.refine_epochs": 1,
    "semi.steps": 4, "semi.steps_per_epoch": 2, "semi.use_extra": True,
    "data.path": "train.npz", "data.test_path": "test.npz", "data.extra_path": "extra.npz",
    "data.deduplicate": True,
}  # fmt: skip


def _marked(images: np.ndarray, role: str) -> np.ndarray:
    images = images.copy()
    images[:, 0, 0] = _MARKS[role]
    return images


def _write(folder: Path, test_seed: int, labels_of: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write three parts; five of the extra images are copies of test images."""
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    images, labels = shapes(0)
    np.savez(folder / "train.npz", images=_marked(images, "train"), labels=labels_of(labels))
    images, labels = shapes(test_seed)
    test = _marked(images[:_TEST], "test")
    np.savez(folder / "test.npz", images=test, labels=labels_of(labels[:_TEST]))
    extra = _marked(shapes(2)[0][:_EXTRA], "extra")
    np.savez(folder / "extra.npz", images=np.concatenate([extra, test[:_COPIES]]))


@dataclass(frozen=True)
class Seen:
    """A run in parts.

    Attributes:
        run: Its folder.
        roles: Stage to the roles of the images it was given, and how many.
        said: What the last command printed.
    """

    run: Path
    roles: dict[str, dict[str, int]]
    said: str


def _spy(patch: pytest.MonkeyPatch, roles: dict[str, dict[str, int]]) -> None:
    """Note the images every maker of batches is given."""
    readers: list[tuple[str, Any, str]] = [
        ("pretrain", pretrain, "training_batches"),
        ("embed", encoding, "inference_batches"),
        ("self", self_label, "training_batches"),
        ("semi", semi, "semi_batches"),
        ("classify", networks, "inference_batches"),
    ]
    for stage, module, name in readers:
        make = getattr(module, name)

        def noting(
            images: np.ndarray, *args: Any, _stage: str = stage, _make: Any = make, **options: Any
        ) -> Any:
            for role, mark in _MARKS.items():
                count = int((images[:, 0, 0, 0] == mark).sum())
                if count:
                    roles[_stage][role] = max(count, roles[_stage].get(role, 0))
            return _make(images, *args, **options)

        patch.setattr(module, name, noting)


def _run(folder: Path, protocol: str) -> Seen:
    options = {**_QUICK, "data.protocol": protocol}
    settings = [f"--set={name}={json.dumps(value)}" for name, value in options.items()]
    roles: dict[str, dict[str, int]] = defaultdict(dict)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        unverified(patch)
        with pytest.MonkeyPatch.context() as closed:
            _spy(closed, roles)
            for module, name in _label_readers():
                closed.setattr(module, name, _refuse)
            result = invoke("pretrain", "tiny.yaml", *settings, "--run-dir", "run")
            assert result.exit_code == 0, result.output
            for command in ("self", "semi"):
                result = invoke(command, "--run-dir", "run")
                assert result.exit_code == 0, result.output
        result = invoke("eval", "--run-dir", "run")
        assert result.exit_code == 0, result.output
    return Seen(folder / "run", roles, result.output)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A run under `split`; until it is evaluated, reading a label is an error."""
    folder = tmp_path_factory.mktemp("split")
    _write(folder, 1, lambda labels: labels)
    return _run(folder, "split")


def test_under_split_no_stage_that_trains_sees_a_test_image(split: Seen) -> None:
    train = {"train": 96}
    assert split.roles["pretrain"] == split.roles["semi"] == {**train, "extra": _EXTRA}
    assert split.roles["embed"] == split.roles["self"] == split.roles["classify"] == train


def test_other_test_images_and_labels_leave_everything_trained_as_it_was(
    split: Seen, tmp_path: Path
) -> None:
    _write(tmp_path, 3, lambda labels: labels[::-1])
    other = artifact_files(_run(tmp_path, "split").run, without=("images", "export"))
    trained = artifact_files(split.run, without=("images", "export"))
    judged = ("test/", "evaluation/")
    for name in trained.keys() | other.keys():
        if not name.startswith(judged):
            assert trained.get(name) == other.get(name), name
    assert trained["test/heads/probabilities.npy"] != other["test/heads/probabilities.npy"]


def test_the_copies_are_left_out_and_said(split: Seen) -> None:
    facts = json.loads((split.run / "artifacts/images/parts.json").read_text())
    assert facts == {"test": _TEST, "train": 96, "extra": _EXTRA, "duplicates_removed": _COPIES}
    assert metrics(split.run)["data"] == {"protocol": "split", **facts}


def _assignments(run: Path) -> list[dict[str, str]]:
    with (run / "assignments.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_test_images_are_reported_and_train_images_told_beside(split: Seen) -> None:
    found = metrics(split.run)
    assert (found["num_images"], found["train"]["num_images"]) == (_TEST, 96)
    assert f"eval: results on the {_TEST} test images" in split.said
    for part, count in ((found, _TEST), (found["train"], 96)):
        for method in ("self", "semi", "kmeans_embeddings", "kmeans_pixels"):
            assert sum(part[method]["cluster_sizes"]) == count
            assert 0 < part[method]["acc"] <= 1
    rows = _assignments(split.run)
    assert [row["part"] for row in rows] == ["test"] * _TEST + ["train"] * 96
    assert [rows[0]["image"], rows[-1]["image"]] == ["test/0000000", "train/0000095"]
    sizes = [sum(row["cluster"] == str(k) for row in rows[:_TEST]) for k in range(3)]
    assert sizes == found["semi"]["cluster_sizes"]


def test_reported_figures_are_those_of_the_test_labels(split: Seen) -> None:
    from spice_keras.metrics.clustering import clustering_accuracy

    with np.load(split.run.parent / "test.npz") as file:
        labels = file["labels"]
    clusters = np.array([int(row["cluster"]) for row in _assignments(split.run)[:_TEST]])
    assert metrics(split.run)["semi"]["acc"] == clustering_accuracy(labels, clusters)


def test_the_report_says_which_images_it_shows(split: Seen) -> None:
    page = (split.run / "report.html").read_text(encoding="utf-8")
    assert f"split: {96 + _EXTRA} images to pretrain on, 96 to cluster" in page
    assert f"{_TEST} test images, which no stage saw" in page
    assert f"{_COPIES} extra images equal to a test image were left out" in page
    assert "SPICE-Semi, train images" in page
    assert "trained from scratch on the train images with MoCo v2" in page
    assert (split.run / "figures" / "embedding_map.png").is_file()


def test_the_exported_model_says_the_same_of_the_test_images(
    split: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(split.run.parent, tmp_path / "copy"))
    unverified(monkeypatch)
    exported = invoke("export", "--run-dir", "run")
    assert exported.exit_code == 0, exported.output
    result = invoke("predict", "saved_models/tiny/1", "test.npz", "--output", "new.csv")
    assert result.exit_code == 0, result.output
    with open("new.csv", newline="", encoding="utf-8") as file:
        said = list(csv.DictReader(file))
    rows = _assignments(split.run)[:_TEST]
    sure = [[float(row["confidence"]) for row in table] for table in (said, rows)]
    np.testing.assert_allclose(*sure, atol=2e-2)  # bfloat16 rounds otherwise in other batches
    same = [ours["cluster"] == theirs["cluster"] for ours, theirs in zip(rows, said, strict=True)]
    assert np.mean(same) > 0.9, "near ties may turn"


def test_test_images_are_classified_once_for_each_training(
    split: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = json.loads((split.run / "timings.json").read_text("utf-8"))
    assert list(times) == [
        "images",
        "pretrain",
        "embed",
        "self",
        "reliable",
        "semi",
        "test",
        "name",
        "eval",
    ]
    monkeypatch.chdir(shutil.copytree(split.run.parent, tmp_path / "copy"))
    classified = Path("run/artifacts/test/manifest.json")
    evaluated = Path("run/artifacts/evaluation/manifest.json")
    assert invoke("semi", "--run-dir", "run", "--redo").exit_code == 0
    assert not classified.exists()
    seen = []
    for _ in range(2):
        assert invoke("eval", "--run-dir", "run").exit_code == 0
        seen.append((classified.stat().st_mtime_ns, evaluated.stat().st_mtime_ns))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_under_whole_train_and_test_images_are_one_set(tmp_path: Path) -> None:
    _write(tmp_path, 1, lambda labels: labels)
    whole = _run(tmp_path, "whole")
    both = {"test": _TEST, "train": 96}
    assert whole.roles["pretrain"] == whole.roles["semi"] == {**both, "extra": _EXTRA}
    assert whole.roles["embed"] == whole.roles["self"] == whole.roles["classify"] == both
    found = metrics(whole.run)
    assert found["num_images"] == _TEST + 96
    assert "train" not in found
    assert not (whole.run / "artifacts" / "test").exists()
    parts = [row["part"] for row in _assignments(whole.run)]
    assert parts == ["test"] * _TEST + ["train"] * 96

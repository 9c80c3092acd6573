"""`spice ablate`: every row from one pretraining, its tables, resuming, refusals."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import yaml

from spice_keras.ablations.ablate import Ablation
from spice_keras.ablations.rows import ablation_rows
from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.run.configuration import differences
from spice_keras.stages import true_labels
from tests.integration.tiny import artifact_files, invoke, shapes, snapshot, write_tiny

_SHORT = (
    "pretrain.epochs=2", "self.num_heads=2", "self.epochs=1", "self.num_repeats=1",
    "semi.steps=6", "semi.steps_per_epoch=3", "semi.labels_per_class=4",
)  # fmt: skip
_OPTIONS = [word for option in _SHORT for word in ("--set", option)]
_ROWS = (
    "kmeans", "ce", "tce", "non-overlap", "conv-sh", "conv-mh", "entropy", "self", "weak-weak",
    "strong-weak", "strong-strong", "adapt", "semi-scratch", "semi-pretrained", "semi-all",
    "semi-labels",
)  # fmt: skip


def _ablate(*arguments: str) -> click.testing.Result:
    return invoke("ablate", "tiny.yaml", *_OPTIONS, "--run-dir", "ablations", *arguments)


def _results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "ablations.json").read_text("utf-8"))
    return found


@dataclass(frozen=True)
class Ablated:
    """Every row once, then two rows of a second trial on top."""

    folder: Path
    first: click.testing.Result
    second: click.testing.Result
    results: dict[str, Any]
    files: dict[str, tuple[int, bytes]]


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ablated]:
    folder = write_tiny(tmp_path_factory.mktemp("ablate"), labels=shapes()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        first = _ablate("--trials", "1")
        ablations = folder / "ablations"
        results, files = _results(ablations), snapshot(ablations / "trial-1")
        second = _ablate("--trials", "2", "--rows", "self,kmeans", "--resume", "--quiet")
        yield Ablated(ablations, first, second, results, files)


def test_every_row_is_trained_and_judged(ablated: Ablated) -> None:
    assert ablated.first.exit_code == 0, ablated.first.output
    rows = ablated.results["rows"]
    assert tuple(sorted(rows)) == tuple(sorted(_ROWS))
    assert ablated.results["errors"] == []
    for name, row in rows.items():
        (trial,) = row["trials"]
        assert 0.0 < trial["acc"] <= 1.0, name
        assert -1.0 <= trial["ari"] <= 1.0
        assert row["mean"]["acc"] == trial["acc"]
        assert row["deviation"]["acc"] is None, "one trial has none"


def test_pretraining_runs_once_and_its_files_are_shared(ablated: Ablated) -> None:
    trial = ablated.folder / "trial-1"
    trained = [json.loads(path.read_text("utf-8")) for path in trial.glob("*/timings.json")]
    assert sum("pretrain" in times for times in trained) == 1
    shared = trial / "pretraining" / "artifacts"
    for row in ("self", "ce", "conv-mh", "semi-scratch"):
        for file in ("encoder/network.weights.h5", "embeddings/features.npy"):
            ours = trial / row / "artifacts" / file
            assert ours.samefile(shared / file), "hard-linked"
    heads = trial / "self" / "artifacts" / "heads" / "weights.npz"
    assert (trial / "semi-all" / "artifacts" / "heads" / "weights.npz").samefile(heads)


def test_the_rows_differ_in_what_they_say_and_in_nothing_else(ablated: Ablated) -> None:
    trial = ablated.folder / "trial-1"
    base = yaml.safe_load((trial / "self" / "config.yaml").read_text("utf-8"))
    for name, row in ablated.results["rows"].items():
        if name == "kmeans":
            continue  # of the embeddings, whatever the heads
        config = yaml.safe_load((trial / name / "config.yaml").read_text("utf-8"))
        changed = set(differences(base, config))
        options = set(row["overrides"]) | {"semi.enabled"}
        assert all(any(key.startswith(option) for option in options) for key in changed), name
        assert changed or name in ("self", "semi-pretrained"), name


def test_heads_of_different_rows_are_different_heads(ablated: Ablated) -> None:
    trial = ablated.folder / "trial-1"
    sums = {
        row: artifact_files(trial / row)["heads/weights.npz"]
        for row in _ROWS
        if row != "kmeans" and not row.startswith("semi")
    }
    assert len(set(sums.values())) == len(sums)


def test_an_encoder_that_moved_is_kept_with_its_heads(ablated: Ablated) -> None:
    trial = ablated.folder / "trial-1"
    for row in ("conv-sh", "conv-mh", "adapt"):
        files = artifact_files(trial / row)
        moved = files["heads/encoder/network.weights.h5"]
        assert moved != files["encoder/network.weights.h5"]
    assert "heads/encoder/network.weights.h5" not in artifact_files(trial / "self")


def test_resuming_does_only_what_is_left(ablated: Ablated) -> None:
    assert ablated.second.exit_code == 0, ablated.second.output
    after = snapshot(ablated.folder / "trial-1")
    assert after == ablated.files, "the first trial is as it was"
    rows = _results(ablated.folder)["rows"]
    assert sorted(rows) == sorted(_ROWS), "what was finished before is in the tables too"
    assert {name for name, row in rows.items() if len(row["trials"]) == 2} == {"kmeans", "self"}
    for name in ("kmeans", "self"):
        row, trials = rows[name], rows[name]["trials"]
        assert [trial["seed"] for trial in trials] == [0, 1]
        for figure in ("acc", "nmi", "ari"):
            values = [trial[figure] for trial in trials]
            assert row["mean"][figure] == pytest.approx(np.mean(values))
            assert row["deviation"][figure] == pytest.approx(np.std(values, ddof=1))


def test_the_tables(ablated: Ablated) -> None:
    lines = ablated.first.stdout.splitlines()
    assert lines[0].split() == ["Row", "ACC", "NMI", "ARI", "n", "Paper"]
    assert len(lines) == 1 + len(_ROWS) + 1
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1] == "Tables  ablations/ablations.md"
    assert "±" in ablated.second.stdout
    text = (ablated.folder / "ablations.md").read_text("utf-8")
    assert "Seeds 0, 1, an encoder for each." in text
    assert "| `kmeans` | k-means on embeddings | " in text
    with (ablated.folder / "ablations.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(_ROWS) + 2
    assert [row["trial"] for row in table if row["row"] == "self"] == ["0", "1"]
    assert next(row for row in table if row["row"] == "ce")["title"] == "CE"


def test_resuming_another_ablation_is_refused(
    ablated: Ablated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ablated.folder.parent)
    before = snapshot(ablated.folder)
    for arguments, message in (
        (["--rows", "self"], "is not empty. Continue ablations with --resume"),
        (["--resume", "--set", "self.temperature=0.5"], "self.temperature: 0.2 there, 0.5 asked"),
        (["--resume", "--pretrain-once"], "pretrain_once: False there, True asked for"),
    ):
        result = _ablate(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    assert snapshot(ablated.folder) == before


def test_ablations_older_than_an_option_go_on(ablated: Ablated, tmp_path: Path) -> None:
    begun = yaml.safe_load((ablated.folder / "ablation.yaml").read_text("utf-8"))
    asked = load_config(base={key: value for key, value in begun.items() if key != "pretrain_once"})
    del begun["embed"], begun["self"]["temperature"]
    (tmp_path / "ablation.yaml").write_text(yaml.safe_dump(begun), encoding="utf-8")
    Ablation(asked, tmp_path).begin(resume=True)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images that have no labels."""
    monkeypatch.chdir(tmp_path)
    return write_tiny(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--labels none", "Ablations are judged by labels"),
        ("--rows self,sefl", "There is no row 'sefl' for this data. Rows: kmeans, ce, "),
        ("--trials 0", "0 is not in the range"),
        ("--resume", "holds no ablations to go on with"),
        ("--set self.losss=softmax", "Did you mean loss"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    scene: Path, line: str, message: str
) -> None:
    before = snapshot(scene)
    result = _ablate(*line.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert snapshot(scene) == before


def test_data_without_labels_is_refused_before_pretraining(scene: Path) -> None:
    result = _ablate("--rows", "self")
    assert result.exit_code == 2
    assert "this data has none" in result.stderr
    artifacts = scene / "ablations" / "trial-1" / "pretraining" / "artifacts"
    assert [path.name for path in artifacts.iterdir()] == ["images"]


def test_a_row_that_fails_is_reported_and_the_others_go_on(
    ablated: Ablated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tiny(tmp_path, labels=shapes()[1]))
    shutil.copytree(ablated.folder, tmp_path / "ablations")
    shutil.rmtree(tmp_path / "ablations" / "trial-1" / "semi-labels")
    (tmp_path / "ablations" / "trial-1" / "results" / "semi-labels.json").unlink()

    def labels_on_request(context: object) -> None:
        raise UserError("the class disc has too few images")

    monkeypatch.setattr(true_labels, "labels_on_request", labels_on_request)
    result = _ablate("--trials", "1", "--resume", "--rows", "self,semi-labels")
    assert result.exit_code == 0, result.output
    message = "semi-labels, trial 1: the class disc has too few images"
    assert f"Note: not finished: {message}\n" in result.stderr
    found = _results(tmp_path / "ablations")
    assert found["errors"] == [message]
    assert found["rows"]["semi-labels"]["mean"]["acc"] is None
    assert found["rows"]["self"]["mean"]["acc"] is not None
    assert message in (tmp_path / "ablations" / "ablations.md").read_text("utf-8")
    alone = _ablate("--trials", "1", "--resume", "--rows", "semi-labels")
    assert alone.exit_code == 2
    assert f"No row could be finished. The first: {message}" in alone.stderr


@pytest.mark.slow
def test_the_protocol_split_judges_test_images(scene: Path) -> None:
    images, labels = shapes(seed=1)
    np.savez("test.npz", images=images[:30], labels=labels[:30])
    np.savez("shapes.npz", images=shapes()[0], labels=shapes()[1])
    split = ("--set", "data.protocol=split", "--set", "data.test_path=test.npz")
    result = _ablate("--trials", "1", "--rows", "kmeans,self,adapt,semi-labels", *split)
    assert result.exit_code == 0, result.output
    for row in ("self", "adapt", "semi-labels"):
        files = artifact_files(Path("ablations") / "trial-1" / row)
        assert "test/heads/probabilities.npy" in files
        found = np.load(f"ablations/trial-1/{row}/artifacts/test/heads/probabilities.npy")
        assert found.shape == (30, 3)


def test_a_dry_run_lists_the_rows_and_writes_nothing(scene: Path) -> None:
    before = snapshot(scene)
    result = _ablate("--dry-run")
    assert result.exit_code == 0, result.output
    rows = ablation_rows(load_config("tiny.yaml"))
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(rows)
    assert snapshot(scene) == before


def test_embeddings_have_the_rows_that_need_no_images(scene: Path) -> None:
    np.savez("features.npz", features=np.zeros((12, 3)), labels=np.arange(12) % 3)
    common = ("ablate", "--embeddings", "features.npz", "--clusters", "3")
    listed = invoke(*common, "--dry-run").stdout
    names = ["kmeans", "ce", "tce", "non-overlap", "entropy", "self"]
    assert [line.split()[0] for line in listed.splitlines()] == names
    assert "no row 'conv-sh'" in invoke(*common, "--rows", "conv-sh").stderr

"""`spice run --update`: a run follows its source, and its trained networks stay."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.pipeline import update_run
from spice_keras.run.configuration import read_run_config
from spice_keras.run.directory import RunDirectory
from spice_keras.stages import update as update_module
from tests.integration.conftest import Quick, unverified
from tests.integration.tiny import artifact_files, invoke, shapes, write_tiny

pytestmark = pytest.mark.integration
_TRAINED = ("heads/weights.npz", "heads/selection.json", "encoder/", "classifier/network")
_ADVICE = re.compile(r"`(spice [^`]*--update)`")


@pytest.fixture
def arrays(quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run on arrays without ids, SPICE-Semi included, and of its data."""
    shutil.copytree(quick.run, tmp_path / "run")
    for name in ("tiny.yaml", "shapes.npz"):
        shutil.copy(quick.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    unverified(monkeypatch)
    return Path("run")


def _assignments(run: Path) -> dict[str, dict[str, str]]:
    with (run / "assignments.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def _trained(run: Path) -> dict[str, str]:
    files = artifact_files(run)
    return {name: digest for name, digest in files.items() if name.startswith(_TRAINED)}


def test_an_array_in_another_order_with_rows_added_changed_and_gone(arrays: Path) -> None:
    images, labels = shapes()
    before, trained = _assignments(arrays), _trained(arrays)
    order = np.random.default_rng(1).permutation(len(images))[:-4]
    fresh, their_labels = shapes(seed=7)
    now = np.concatenate([images[order], fresh[:6]])
    np.savez("shapes.npz", images=now, labels=np.concatenate([labels[order], their_labels[:6]]))
    refused = invoke("run", "--run-dir", "run", "--resume")
    assert refused.exit_code == 2, refused.output
    advice = _ADVICE.search(refused.stderr)
    assert advice is not None
    done = invoke(*shlex.split(advice[1])[1:])
    assert done.exit_code == 0, done.output
    assert re.search(r"update: 6 added, 0 changed, 4 removed, .*; 6 images were", done.stderr)
    after = _assignments(arrays)
    assert list(after) == [f"{number:07d}" for number in range(len(now))]
    for number, row in enumerate(order):
        one, other = before[f"{row:07d}"], after[f"{number:07d}"]
        assert one["cluster"] == other["cluster"]
        assert one["confidence"] == other["confidence"]
    assert _trained(arrays) == trained
    (noted,) = json.loads((arrays / "updates.json").read_text())
    assert (noted["items_before"], noted["items"]) == (len(images), len(now))
    assert invoke("repair", "run").stderr.strip() == "spice repair: nothing is damaged, in run"
    again = invoke("run", "--run-dir", "run", "--update")
    assert again.exit_code == 0, again.output
    assert "just what the run was made of" in again.stderr
    assert invoke("reproduce", "run").exit_code == 2


def test_an_update_that_is_killed_goes_on(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = shapes()
    shutil.copytree("run", "peaceful")
    np.savez("shapes.npz", images=np.concatenate([images, shapes(seed=7)[0][:2]]))
    config = read_run_config(arrays)
    assert update_run(config, "peaceful") == {"added": 2, "changed": 0, "removed": 0}
    kept = {"_heads": update_module._heads, "commit": update_module.commit}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for name, real in kept.items():
        monkeypatch.setattr(update_module, name, killed)
        with pytest.raises(KeyboardInterrupt):
            update_run(config, arrays)
        assert RunDirectory(arrays).has("evaluation"), "the run is as it was"
        monkeypatch.setattr(update_module, name, real)
    monkeypatch.setattr(update_module, "_embeddings", killed)  # they are staged
    update_run(config, arrays)
    assert artifact_files(arrays) == artifact_files(Path("peaceful"))
    assert not (arrays / "update").exists()
    assert not (arrays / "report.html").exists(), "it told of other items"


def test_a_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = shapes()
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number:02d}.png")
    monkeypatch.chdir(write_tiny(tmp_path))
    unverified(monkeypatch)
    options = ["--set=data.source=folder", "--set=data.path=photos", "--set=semi.enabled=false"]
    options += ["--set=pretrain.epochs=1", "--set=self.epochs=1", "--set=self.refine_epochs=0"]
    begun = invoke("run", "tiny.yaml", *options, "--run-dir", "run", "--quiet")
    assert begun.exit_code == 0, begun.output
    before = _assignments(Path("run"))
    fresh, _ = shapes(seed=7)
    Path("photos/00.png").rename("photos/moved.png")
    Path("photos/01.png").unlink()
    Image.fromarray(fresh[0]).save("photos/02.png")
    Image.fromarray(fresh[1]).save("photos/new.png")
    done = invoke("run", "--run-dir", "run", "--update")
    assert done.exit_code == 0, done.output
    assert "update: 2 added, 1 changed, 2 removed" in done.stderr
    assert "2 images were assigned" in done.stderr
    after = _assignments(Path("run"))
    assert set(after) == set(before) - {"00.png", "01.png"} | {"moved.png", "new.png"}
    kept = [name for name in before if name in after and name != "02.png"]
    assert all(before[name]["confidence"] == after[name]["confidence"] for name in kept)
    assert before["00.png"]["confidence"] == after["moved.png"]["confidence"]


def test_what_cannot_be_updated_is_told(arrays: Path) -> None:
    (arrays / "edits.jsonl").write_text("")
    images, labels = shapes()
    np.savez("shapes.npz", images=images[::-1], labels=labels[::-1])
    told = invoke("run", "--run-dir", "run", "--update")
    assert told.exit_code == 2
    assert "names rows of shapes.npz by their numbers" in told.stderr
    (arrays / "edits.jsonl").unlink()
    weights = arrays / "artifacts" / "heads" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1])
    told = invoke("run", "--run-dir", "run", "--update")
    assert told.exit_code == 2
    assert "an update needs it whole" in told.stderr
    shutil.rmtree(arrays / "artifacts" / "heads")
    told = invoke("run", "--run-dir", "run", "--update")
    assert told.exit_code == 2
    assert "its training has not come to its end" in told.stderr
    assert invoke("run", "--run-dir", "nowhere", "--update").exit_code == 2
    assert not Path("nowhere").exists()

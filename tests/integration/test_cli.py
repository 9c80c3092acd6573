"""The `spice` command as a user meets it: a whole run, its stages, prediction, bad input."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from spice_keras import pipeline
from spice_keras.config import load_config
from spice_keras.report.formatting import MISSING
from tests.integration.conftest import Finished, Quick, Stagewise, unverified
from tests.integration.tiny import (
    COUNT,
    artifact_files,
    invoke,
    metrics,
    shapes,
    snapshot,
    start,
    write_tiny,
)

_NOISE = ("oneDNN", "WARNING", "absl", "cpu_feature_guard", "Traceback", "E0000", "I0000", "W0000")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_FIGURES = ("acc", "nmi", "ari")
_METHODS = ("self", "semi", "kmeans_pixels", "kmeans_embeddings")


def _table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _assignments(run: Path) -> list[dict[str, str]]:
    return _table((run / "assignments.csv").read_text(encoding="utf-8"))


# A whole run


def test_a_run_ends_with_its_figures_and_where_everything_lies(finished: Finished) -> None:
    lines = finished.stdout.splitlines()
    assert lines[0].split()[:4] == ["Method", "ACC", "bACC", "NMI"]
    methods = ("SPICE-Semi", "SPICE-Self", "k-means on embeddings", "k-means on pixels")
    figure = rf"(-?\d\.\d{{3}}|{MISSING})"
    for method, line in zip(methods, lines[1:5], strict=True):
        assert re.fullmatch(rf"{method}( +{figure}){{9}} *", line)
        assert len(line) <= 80
    assert lines[5:] == [
        "Report       run/report.html",
        "Assignments  run/assignments.csv",
        "SavedModel   saved_models/tiny/1",
    ]


def test_progress_goes_to_standard_error_in_plain_lines(finished: Finished) -> None:
    lines = finished.stderr.splitlines()
    assert lines[0] == "spice run: tiny, 3 clusters, in run"
    for start_of_line in ("images: ", "pretrain: ", "self: ", "reliable: ", "semi: ", "export: "):
        assert any(line.startswith(start_of_line) for line in lines), start_of_line
    assert any(re.match(r"About \d+:\d\d for the three training stages", line) for line in lines)


def test_a_pipe_gets_neither_noise_nor_control_characters(finished: Finished) -> None:
    for text in (finished.stdout, finished.stderr):
        assert not _CONTROL.search(text)
        assert not [noise for noise in _NOISE if noise in text]


def test_everything_promised_is_there(tiny: Path, finished: Finished) -> None:
    names = {path.name for path in finished.run.iterdir()}
    assert names == {
        "artifacts", "checkpoints", "figures",
        "config.yaml", "environment.json", "timings.json", "plan.json",
        "metrics.json", "metrics.jsonl", "assignments.csv", "skipped.csv", "report.html",
        "duplicates.csv", "outliers.csv", "source.json",
    }  # fmt: skip
    assert not [path for path in finished.run.rglob(".*")]
    assert {path.name for path in (tiny / "saved_models" / "tiny" / "1").iterdir()} >= {
        "saved_model.pb", "variables", "spice.json"
    }  # fmt: skip


def test_the_configuration_written_is_the_one_that_ran(tiny: Path, finished: Finished) -> None:
    values = yaml.safe_load((finished.run / "config.yaml").read_text(encoding="utf-8"))
    assert values == load_config(str(tiny / "tiny.yaml")).as_dict()


def test_metrics_have_every_method(finished: Finished) -> None:
    found = metrics(finished.run)
    for method in _METHODS:
        assert all(0.0 <= found[method][figure] <= 1.0 for figure in _FIGURES)
    assert found["semi"]["acc"] > 0.9
    assert found["num_images"] == COUNT


def test_metrics_without_labels_are_null(unlabelled: Finished) -> None:
    found = metrics(unlabelled.run)
    for method in _METHODS:
        assert all(found[method][figure] is None for figure in _FIGURES)
        assert found[method]["local_consistency"] > 0
    assert re.search(r"^Method +Cons\. ", unlabelled.stdout, re.MULTILINE)  # no column of labels
    assert re.search(r"^SPICE-Semi +\d", unlabelled.stdout, re.MULTILINE)


def test_every_image_has_a_row(finished: Finished) -> None:
    rows = _assignments(finished.run)
    assert [row["image"] for row in rows] == [f"{row:07d}" for row in range(COUNT)]
    assert {row["cluster"] for row in rows} <= {"0", "1", "2"}
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    sizes = metrics(finished.run)["semi"]["cluster_sizes"]
    assert np.bincount([int(row["cluster"]) for row in rows], minlength=3).tolist() == sizes


@pytest.mark.parametrize("name", ["finished", "unlabelled"])
def test_the_report_needs_no_network(name: str, request: pytest.FixtureRequest) -> None:
    run: Finished = request.getfixturevalue(name)
    text = (run.run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href|action|url)\s*[=(]\s*[\"']?\s*(https?:|//)", text)
    assert "@import" not in text
    assert text.count("data:image/png;base64,") > 5


def test_quiet_says_only_what_went_wrong(quick: Quick) -> None:
    assert quick.said.stderr
    assert all(line.startswith("Note: ") for line in quick.said.stderr.splitlines())
    assert "SavedModel   saved_models/tiny/1" in quick.said.stdout


def test_verbose_says_more(unlabelled: Finished) -> None:
    assert "embed: 96 images, 32 features." in unlabelled.stderr
    assert re.search(r"^Peak memory [\d,]+ MiB\.$", unlabelled.stderr, re.MULTILINE)


# Stage by stage, and again


@pytest.mark.parametrize("command", ["pretrain", "self", "semi", "eval", "export"])
def test_every_stage_has_its_command(command: str, stagewise: Stagewise) -> None:
    result = stagewise.results[command]
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == f"spice {command}: done, in stages"


def test_stage_by_stage_is_the_same_run(stagewise: Stagewise, finished: Finished) -> None:
    own = ("evaluation", "export")  # its labels are others; where its SavedModel lies
    assert artifact_files(stagewise.run, without=own) == artifact_files(finished.run, without=own)
    expected = (finished.run / "assignments.csv").read_bytes()
    assert (stagewise.run / "assignments.csv").read_bytes() == expected


@pytest.fixture
def copied(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run with all that lies beside it, to be written to."""
    monkeypatch.chdir(shutil.copytree(tiny, tmp_path / "copy"))
    return Path("run")


def test_every_export_is_a_new_version(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unverified(monkeypatch)
    result = invoke("export", "--run-dir", copied)
    assert result.exit_code == 0, result.output
    assert "export: saved_models/tiny/2 (" in result.stderr
    assert sorted(p.name for p in Path("saved_models/tiny").iterdir()) == ["1", "2"]


def test_an_export_is_loaded_and_checked(finished: Finished) -> None:
    assert "export: saved_models/tiny/1 (loaded and checked" in finished.stderr


def test_evaluation_prints_what_the_run_printed(copied: Path, finished: Finished) -> None:
    printed = invoke("eval", "--run-dir", copied).stdout.splitlines()
    assert printed[:5] == finished.stdout.splitlines()[:5]
    assert printed[5:] == ["Report  run/report.html"]


@pytest.fixture
def here(tiny: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tiny)
    return tiny


def test_resuming_a_finished_run_does_and_changes_nothing(here: Path, finished: Finished) -> None:
    """Not a file is written: no time is added to timings.json either."""
    before = snapshot(finished.run)
    result = invoke("run", "tiny.yaml", "--run-dir", "run", "--resume")
    assert result.exit_code == 0, result.output
    assert result.stdout == finished.stdout
    assert snapshot(finished.run) == before


def test_without_resume_a_finished_run_is_left_alone(here: Path, finished: Finished) -> None:
    before = snapshot(finished.run)
    result = invoke("run", "tiny.yaml", "--run-dir", "run")
    _refused(result, "already holds pretrain, embed, self, reliable, semi")
    assert snapshot(finished.run) == before


def test_a_run_of_another_configuration_is_left_alone(here: Path, finished: Finished) -> None:
    before = snapshot(finished.run)
    result = invoke("run", "tiny.yaml", "--run-dir", "run", "--resume", "--seed", "4",
                    "--set", "semi.threshold=0.5")  # fmt: skip
    _refused(
        result,
        "run was made with another configuration:\n"
        "  seed: 0 there, 4 asked for\n"
        "  semi.threshold: 0.95 there, 0.5 asked for\n",
    )
    assert snapshot(finished.run) == before


def test_a_damaged_artifact_is_found(here: Path, finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.run, tmp_path / "run")
    path = tmp_path / "run" / "artifacts" / "classifier" / "probabilities.npy"
    path.write_bytes(path.read_bytes()[:-4])
    _refused(invoke("eval", "--run-dir", tmp_path / "run"), "is missing or cut short: run `spice")


# Prediction


@pytest.fixture(scope="module")
def new_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's first images, as a file, as a folder with one bad file, and as an array."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "photos").mkdir()
    images = shapes()[0]
    Image.fromarray(images[0]).save(folder / "one.png")
    for number in (1, 2):
        Image.fromarray(images[number]).save(folder / "photos" / f"{number}.png")
    (folder / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    np.save(folder / "rest.npy", images[3:40])
    return folder


def test_predict_says_what_the_run_said(
    here: Path, finished: Finished, new_images: Path, tmp_path: Path
) -> None:
    """In a process of its own, its output in pipes: the table on one, the rest on the other."""
    model = here / "saved_models" / "tiny" / "1"
    process = start("predict", model, "one.png", "photos", "rest.npy", cwd=new_images)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    rows = _table(stdout)
    names = ["one.png", "photos/1.png", "photos/2.png", *(f"{row:07d}" for row in range(37))]
    assert [row["image"] for row in rows] == names
    expected = _assignments(finished.run)[:40]
    assert [row["cluster"] for row in rows] == [row["cluster"] for row in expected]
    found, told = ([float(row["confidence"]) for row in table] for table in (rows, expected))
    np.testing.assert_allclose(found, told, atol=2e-2)
    assert re.fullmatch(r"Note: skipped photos/broken\.png: [^\n]+\n", stderr)
    assert not _CONTROL.search(stdout)


def test_predict_into_a_file(here: Path, new_images: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.csv"
    result = invoke("predict", "saved_models/tiny/1", new_images / "rest.npy", "--output", output)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr == f"37 images sorted into {output}\n"
    assert len(_table(output.read_text(encoding="utf-8"))) == 37


@pytest.mark.parametrize(
    ("model", "images", "message"),
    [
        ("saved_models", "one.png", "saved_models is not a SavedModel, and neither"),
        ("nowhere", "one.png", "nowhere is not a SavedModel"),
        ("saved_models/tiny/1", "gone.png", "There is no file or folder .*gone.png"),
        ("saved_models/tiny/1", "photos/broken.png", "None of the 1 files is a readable image"),
        ("saved_models/tiny/1", "empty", "has no files"),
        ("saved_models/tiny/1", "objects.npz", "Python objects"),
    ],
)
def test_predict_refuses(
    here: Path, new_images: Path, model: str, images: str, message: str
) -> None:
    (new_images / "empty").mkdir(exist_ok=True)
    np.savez(new_images / "objects.npz", images=np.array([{}, []], object))
    output = new_images / "out.csv"
    _refused(invoke("predict", model, new_images / images, "--output", output), message)
    assert not output.exists()


# Bad input


def _refused(result: click.testing.Result, message: str) -> None:
    """Exit code 2, one message, no traceback, nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(re.findall("^Error: ", result.stderr, re.MULTILINE)) == 1
    assert re.search(message, result.stderr) or message in result.stderr


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything a user can point at by mistake."""
    write_tiny(tmp_path)
    for name in ("empty", "bad", "few", "hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "hidden" / ".photo.png").touch()
    for number in range(8):
        (tmp_path / "bad" / f"{number}.txt").write_text("no image")
        Image.new("RGB", (9, 9), (number * 20,) * 3).save(tmp_path / "few" / f"{number}.png")
    np.savez(tmp_path / "objects.npz", images=np.array([{}, []], object))
    np.save(tmp_path / "flat.npy", np.zeros((5, 5), np.uint8))
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "wrong.yaml").write_text("sed: 3\npretrain: {epocs: 1}\n")
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    return tmp_path


_AT_ONCE: list[tuple[str, str]] = [
    ("run --images gone --clusters 3", "gone: there is no such file or folder"),
    ("run --images empty --clusters 3", "empty has no files"),
    ("run --images hidden --clusters 3", "hidden has no files"),
    ("run --images cat.jpg --clusters 3", "spice predict"),
    ("run --images few", "Add --clusters K"),
    ("run --images few --clusters 9", "num_clusters: 9 clusters of 8 images"),
    ("run --images few --clusters 1", "Error: --clusters 1: Input should be greater than"),
    ("run --images objects.npz --clusters 3", "Python objects"),
    ("run --images flat.npy --clusters 3", "must have a shape"),
    (
        "run --images few --clusters 2 --labels source --set data.labels=from-folder",
        "Error: --set data.labels=from-folder: ",
    ),
    ("run nothing", "No configuration 'nothing'"),
    ("run digit", "Did you mean digits"),
    ("run wrong.yaml", "wrong.yaml has 2 problems:\n  pretrain.epocs: .*epochs.*\n  sed: .*seed"),
    ("run tiny.yaml --set semi.steps", "--set semi.steps: an option is set with a.b=VALUE"),
    ("run tiny.yaml --set semi.stepz=3", "^Error: --set semi.stepz=3: .*Did you mean steps"),
    ("run digits --set semi.stepz=3", "^Error: --set semi.stepz=3: .*Did you mean steps"),
    ("run digits --backbone resnet", "^Error: --backbone resnet: .*small_resnet"),
    ("run tiny.yaml --set semi.steps=[", r"The value in --set semi.steps=\[ is not valid YAML"),
    ("run tiny.yaml --set semi.steps=many", "^Error: --set semi.steps=many: .*Received: 'many'"),
    ("run tiny.yaml --clusters 97 --set self.large_batch=97", "97 clusters of 96 images"),
    ("run tiny.yaml --set pretrain.queue_size=50", "must be a multiple of the batch"),
    ("run tiny.yaml --seed -1", "^Error: --seed -1: "),
    ("run tiny.yaml --run-dir file", "run directory file is a file"),
    ("run tiny.yaml --run-dir file/below", "cannot be written"),
    ("run tiny.yaml --run-dir thesis", "thesis is not empty and holds no run"),
    ("run tiny.yaml --quiet --verbose", "--quiet and --verbose contradict each other"),
    ("run tiny.yaml --resume", "no run directory runs/tiny"),
    ("run tiny.yaml --epochs 3", "No such option"),
    ("run tiny.yaml --clusters three", "'three' is neither a whole number nor auto"),
    ("train", "No such command 'train'"),
    ("self --run-dir typo", "typo holds no run to go on with"),
    ("eval", "no run directory runs/NAME"),
    ("semi tiny.yaml --run-dir typo", "typo holds no run to go on with"),
    ("configs nothing", "No configuration 'nothing'"),
]


@pytest.mark.parametrize(("line", "message"), _AT_ONCE)
def test_bad_input_is_refused_at_once(
    scene: Path, line: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before TensorFlow is started, and before anything is written."""

    def tensorflow_session(**options: Any) -> None:
        raise AssertionError("TensorFlow was started")

    monkeypatch.setattr(pipeline, "tensorflow_session", tensorflow_session)
    before = snapshot(scene)
    _refused(invoke(*line.split()), message)
    assert snapshot(scene) == before


def test_a_folder_of_only_bad_files_is_refused_with_a_list(scene: Path) -> None:
    (scene / "broken").mkdir()
    for number in range(8):
        (scene / "broken" / f"{number}.png").write_bytes(b"no image")
    result = invoke("run", "--images", "broken", "--clusters", "3", "--run-dir", "run")
    assert result.exit_code == 2
    _refused(result, "8 of 8 items gave no image; .*not an image")
    assert list((scene / "run" / "artifacts").iterdir()) == []
    assert len((scene / "run" / "skipped.csv").read_text().splitlines()) == 9
    assert not (scene / "saved_models").exists()


def test_labels_that_cannot_be_had_are_refused_before_training(scene: Path) -> None:
    result = invoke("run", "--images", "few", "--clusters", "2", "--run-dir", "run",
                    "--labels", "from-folders")  # fmt: skip
    _refused(result, "need every image in a sub-folder")
    assert [p.name for p in (scene / "run" / "artifacts").iterdir()] == ["images"]


def test_a_stage_without_the_one_before_it_is_refused(scene: Path, finished: Finished) -> None:
    shutil.copytree(finished.run, scene / "run")
    shutil.rmtree(scene / "run" / "artifacts" / "classifier")
    _refused(invoke("eval", "--run-dir", "run"), "holds no classifier yet: run `spice semi")
    shutil.rmtree(scene / "run" / "checkpoints" / "semi", ignore_errors=True)
    heads = invoke("eval", "--run-dir", "run", "--set", "semi.enabled=false")
    assert heads.exit_code == 0
    assert "SPICE-Self" in heads.output
    assert "SPICE-Semi" not in heads.output


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. The same command with --resume continues.\n"),
        (
            OSError(28, "No space left on device"),
            2,
            "Error: The output cannot be written: the disk is full.\n",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "a/b; No space left on device"),
            2,
            "Error: The output cannot be written: the disk is full.\n",
        ),
    ],
)
def test_an_interrupt_and_a_full_disk_are_no_traceback(
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def run_all(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run_all", run_all)
    result = invoke("run", "tiny.yaml", "--quiet")
    assert (result.exit_code, result.stderr, result.stdout) == (code, message, "")


# What else the command knows


def test_a_dry_run_prints_configuration_and_arithmetic_and_writes_nothing(scene: Path) -> None:
    before = snapshot(scene)
    result = invoke(
        "run",
        "--images",
        "few",
        "--clusters",
        "2",
        "--backbone",
        "small_resnet",
        "--dry-run",
        "--verbose",
    )
    assert result.exit_code == 0, result.output
    values = yaml.safe_load(result.stdout)
    assert values["name"] == "few"
    assert values["num_clusters"] == 2
    assert load_config(base=values).as_dict() == values
    assert "# items       8 (" in result.stdout
    assert "# note        SPICE-Semi takes 8 unlabelled images" in result.stdout
    assert result.stdout.splitlines()[-1] == "# run directory runs/few"
    assert result.stderr == ""
    few = invoke(
        "run", "--images", "few", "--clusters", "2", "--backbone", "small_resnet", "--dry-run"
    )
    assert few.stdout.startswith("few: 8 items, 2 clusters, in runs/few\n")
    assert few.stdout.endswith("--verbose shows every option and the arithmetic.\n")
    assert snapshot(scene) == before


def test_a_dry_run_of_a_run_directory_prints_its_own_configuration(
    here: Path, finished: Finished
) -> None:
    result = invoke("self", "--run-dir", "run", "--dry-run", "--verbose")
    assert result.exit_code == 0, result.output
    written = yaml.safe_load((finished.run / "config.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(result.stdout) == written


def test_the_shipped_configurations_are_listed_and_shown() -> None:
    listed = invoke("configs").stdout.splitlines()
    assert {"digits", "folder"} <= {line.split()[0] for line in listed}
    assert all(len(line.split()) > 3 for line in listed), "each with a line that describes it"
    shown = invoke("configs", "digits").stdout
    assert yaml.safe_load(shown)["num_clusters"] == 10


def test_help_lists_the_commands_in_the_order_of_a_run() -> None:
    result = invoke("--help")
    commands = re.findall(r"^  (\w+)  ", result.stdout, re.MULTILINE)
    assert commands == [
        *("run", "pretrain", "self", "semi", "eval", "export", "repair", "reproduce", "name"),
        *("ablate", "predict", "serve", "groups", "review", "edits", "apply", "organize"),
        *("embed", "pack", "launch", "configs"),
    ]  # fmt: skip
    assert invoke("-h").stdout == result.stdout
    assert re.search(r"^ +spice run --images photos/ --clusters 12 ", result.stdout, re.MULTILINE)


def test_the_script_of_a_checkout_is_the_same_program(tmp_path: Path) -> None:
    """The whole run above was started with it; here its help, which must not differ."""
    process = start("predict", "--help", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert stderr == ""
    name, *words = stdout.split()[1:]
    assert name == "cli.py"
    assert words == invoke("predict", "--help").stdout.split()[2:]

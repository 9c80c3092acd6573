"""An image-text model: a folder of images, a list of nouns, and SIC, as `cifar10-sic` has it."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import pytest
from PIL import Image

from spice_keras.config.loading import load_config
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Names
from tests.integration.tiny import CLUSTERS, invoke, metrics, shapes
from tests.words.clip import tiny_clip

_NOUNS = ("cat", "dog", "cod", "hat", "pot", "dot")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image_text")
    keras.utils.set_random_seed(0)
    (folder / "preset").mkdir()
    tiny_clip(folder / "preset")
    images, _ = shapes()
    (folder / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "photos" / f"{number:03d}.png")
    lines = "".join(f"{noun} n 1 1 @ 1 0 {place:08d}  \n" for place, noun in enumerate(_NOUNS))
    (folder / "index.noun").write_text("  1 a licence\n" + lines)
    return folder


def test_the_shipped_configuration_runs_on_another_model_and_other_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    shipped = load_config("cifar10-sic")
    assert shipped.self_labeling.objective == "sic"
    assert shipped.words.nouns == "/usr/share/wordnet/index.noun"
    settings = (
        "data.source=folder", "data.path=photos", "data.image_size=16", "data.protocol=whole",
        "data.split=train", "data.test_split=null", "self.sic.epochs=3", "evaluate.map_method=pca",
    )  # fmt: skip
    said = invoke(
        *("run", "cifar10-sic", "--clusters", CLUSTERS, "--run-dir", "run", "--labels", "none"),
        *("--backbone", "hub:preset", "--nouns", "index.noun"),
        *(part for setting in settings for part in ("--set", setting)),
    )
    assert said.exit_code == 0, said.output
    found = metrics(folder / "run")
    assert found["self"]["objective"] == "sic"
    run = RunDirectory(folder / "run")
    names = Names.load(run.read("names", written_by="spice eval"))
    assert names.source == "index.noun, read by hub:preset"
    with (folder / "run" / "assignments.csv").open(encoding="utf-8") as file:
        assert {row["cluster_name"] for row in csv.DictReader(file)} <= {"", *_NOUNS}
    assert len(list((folder / "keras" / "spice_keras" / "words").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--nouns", "index.noun"), "nouns are read by the text encoder of an image-text model"),
        (("--nouns", "index.noun", "--words", "w.npz"), "both give the words of the run"),
        (("--backbone", "hub:preset", "--nouns", "none.txt"), "Cannot read the nouns"),
        (("--backbone", "hub:preset", "--nouns", "few.txt"), "has 1 words, too few for 3 clusters"),
        (
            ("--backbone", "hub:preset", "--nouns", "index.noun", "--set", "words.prompts=[a, b]"),
            "each prompt has one {} for the noun",
        ),
    ],
)
def test_unusable_nouns_are_refused_before_anything_heavy(
    folder: Path, arguments: tuple[str, ...], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "few.txt").write_text("cat\n")
    said = invoke("run", "--images", "photos", "--clusters", 3, "--run-dir", "refused", *arguments)
    assert said.exit_code == 2, said.output
    assert what in " ".join(said.stderr.split())
    assert not (folder / "refused").exists()

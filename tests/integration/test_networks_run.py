"""A wide network as SPICE-Semi's own, from scratch behind another encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.tiny import COUNT, invoke, write_tiny

_OPTIONS = {
    "pretrain.epochs": 1,
    "self.epochs": 1,
    "self.refine_epochs": 0,
    "semi.init": "scratch",
    "semi.backbone.name": "wrn_28_2",
    "semi.backbone.width": 4,
    "semi.backbone.first_stride": 2,
    "semi.steps": 4,
    "semi.steps_per_epoch": 2,
}


def test_semi_trains_a_wide_network_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tiny(tmp_path))
    overrides = [f"--set={name}={value}" for name, value in _OPTIONS.items()]
    for arguments in (("pretrain", "tiny.yaml", *overrides), ("self",), ("semi",)):
        result = invoke(*arguments, "--run-dir", "run", "--quiet")
        assert result.exit_code == 0, result.output
    artifacts = tmp_path / "run" / "artifacts"
    encoder, classifier = (
        json.loads((artifacts / name / "network.json").read_text("utf-8"))["backbone"]
        for name in ("encoder", "classifier")
    )
    assert encoder["name"] == "small_resnet"
    assert classifier == {
        "name": "wrn_28_2",
        "width": 4,
        "stem_stride": 1,
        "first_stride": 2,
        "bn_momentum": None,
    }
    embedding = np.load(artifacts / "classifier" / "embedding.npy")
    assert embedding.shape == (COUNT, 4 * 4)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, rtol=1e-2)

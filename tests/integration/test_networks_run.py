"""A wide network as SPICE-Semi's own, from scratch behind another encoder."""

from __future__ import annotations

import json

import numpy as np

from tests.integration.conftest import Quick
from tests.integration.tiny import COUNT


def test_semi_trains_a_wide_network_from_scratch(quick: Quick) -> None:
    artifacts = quick.run / "artifacts"
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

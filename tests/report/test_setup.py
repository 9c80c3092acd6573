from __future__ import annotations

import pytest

from spice_keras.report.setup import (
    EncoderSetup,
    HeadSetup,
    PartsSetup,
    SemiSetup,
    Setup,
    choices,
    notices,
)

_OWN = EncoderSetup("resnet18", is_pretrained=False, is_trained=True)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (None, "none: the embeddings were given"),
        (_OWN, "resnet18: trained from scratch on these images with MoCo v2"),
        (EncoderSetup("b", True, True), "b: pretrained weights, trained further on these images"),
        (EncoderSetup("b", True, False), "b: pretrained weights, not trained further"),
    ],
)
def test_the_encoder_is_told(encoder: EncoderSetup | None, words: str) -> None:
    lines = dict(choices(Setup(encoder, HeadSetup()), {}))
    assert lines["Encoder"].startswith(words)
    assert ("SPICE-Semi" in lines) == (encoder is not None), "it needs images"


def test_a_split_is_told_with_the_figures_of_the_train_images() -> None:
    parts = PartsSetup("split", 120, 96, 30, duplicates_removed=5)
    setup = Setup(_OWN, HeadSetup(), SemiSetup("reliable", 25), parts)
    figures = {"acc": 0.91, "nmi": 0.8, "ari": 0.7}
    lines = dict(choices(setup, {"train": {"semi": figures, "self": {"acc": None}}}))
    assert lines == {
        "Encoder": "resnet18: trained from scratch on the train images with MoCo v2",
        "Clustering heads": "SPICE-Self: pseudo-labels from the samples nearest to each prototype",
        "SPICE-Semi": "a classifier trained with FixMatch on the reliable labels and all "
        "unlabelled images",
        "Protocol": "split: 120 images to pretrain on, 96 to cluster. This page shows the 30 test "
        "images, which no stage saw",
        "Duplicates": "5 extra images equal to a test image were left out",
        "SPICE-Semi, train images": "ACC 0.910, NMI 0.800, ARI 0.700",
    }


def test_notices_are_for_runs_in_which_labels_had_a_part() -> None:
    assert notices(Setup(_OWN, HeadSetup(), SemiSetup("reliable", 25))) == ()
    pretrained = EncoderSetup("b", is_pretrained=True, is_trained=False)
    semi, encoder = notices(Setup(pretrained, HeadSetup(), SemiSetup("source", 25)))
    assert "SPICE-Semi was given 25 labelled images of each class" in semi
    assert encoder.startswith("The encoder, b, started from weights that were trained on other")

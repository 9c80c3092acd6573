"""The words of an encoder's own classifier: read, in the right order, or refused with advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from spice_keras.backbones import pretrained
from spice_keras.backbones.efficientnet_lite import efficientnet_lite0, lite0_weights
from spice_keras.backbones.pretrained import pretrained_backbone
from spice_keras.errors import UserError
from spice_keras.words.probabilities import word_logits, word_probabilities
from spice_keras.words.vocabulary import classifier_vocabulary

_LITE0 = "efficientnet_lite0"


def test_its_logits_are_those_of_the_network_with_its_classifier() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    whole = efficientnet_lite0(64, num_classes=1000)
    lite0_weights(whole)
    features = pretrained_backbone(_LITE0, image_size=64)(images).numpy()
    vocabulary = classifier_vocabulary(_LITE0)
    assert vocabulary.trained_with_labels
    np.testing.assert_allclose(
        word_logits(vocabulary, features), whole(images).numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "likeliest", "words"),
    [
        ("china.jpg", "palace", {"palace", "bell cote", "monastery"}),
        ("flower.jpg", "daisy", {"daisy"}),
    ],
)
def test_the_words_are_those_of_known_photographs(
    name: str, likeliest: str, words: set[str]
) -> None:
    """A classifier whose classes came in another order would say anything else."""
    image = Image.fromarray(load_sample_image(name))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224))
    features = pretrained_backbone(_LITE0, image_size=224)(np.asarray(image)[np.newaxis]).numpy()
    vocabulary = classifier_vocabulary(_LITE0)
    (p,) = word_probabilities(vocabulary, features)
    best = [vocabulary.nouns[word] for word in np.argsort(-p)[: len(words)]]
    assert best[0] == likeliest
    assert set(best) == words


def _drawn(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A model of keras.applications that draws its weights instead of downloading them."""
    builder: Callable[..., keras.Model] = getattr(keras.applications, name)

    def drawn(**options: Any) -> keras.Model:
        assert options["weights"] == "imagenet"
        return builder(**options | {"weights": None})

    drawn.__module__ = builder.__module__
    monkeypatch.setattr(keras.applications, name, drawn)


def test_words_of_a_keras_application(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(monkeypatch, "MobileNetV2")
    vocabulary = classifier_vocabulary("keras:MobileNetV2")
    assert (vocabulary.num_words, vocabulary.dim) == (1000, 1280)
    assert vocabulary.source == "the ImageNet classifier of keras:MobileNetV2"
    assert vocabulary.dim == pretrained_backbone("keras:MobileNetV2", image_size=96).output.shape[1]


def test_a_classifier_on_other_than_the_pooled_features(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(monkeypatch, "MobileNet")  # its classifier is a convolution
    with pytest.raises(UserError, match="is not one layer on the pooled features"):
        classifier_vocabulary("keras:MobileNet")


def test_a_classifier_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: Any) -> keras.Model:
        raise Exception("URL fetch failure on https://host/resnet50.h5: None -- no network")

    offline.__module__ = keras.applications.ResNet50.__module__
    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(UserError, match=r"keras:ResNet50 are not .* copy the file resnet50\.h5"):
        classifier_vocabulary("keras:ResNet50")
    with pytest.raises(UserError, match=r"no model 'ResNet51'. Did you mean ResNet50"):
        classifier_vocabulary("keras:ResNet51")


def test_a_classifier_of_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pretrained, "application_classifier", lambda _: (np.zeros((4, 10)), np.zeros(10))
    )
    with pytest.raises(UserError, match="has 10 classes, but ImageNet's nouns are 1000"):
        classifier_vocabulary("keras:ResNet50")

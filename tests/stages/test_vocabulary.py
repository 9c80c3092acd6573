"""Whether words guide a run: what is asked, what the vocabulary knows, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.heads.guided_clustering import GuidedClustering
from spice_keras.run.context import Context
from spice_keras.run.store import Heads
from spice_keras.stages import vocabulary as vocabulary_module
from spice_keras.stages.report_data import _head_setup
from spice_keras.stages.self_label import bound_objective
from spice_keras.stages.vocabulary import Guidance, guidance_of, words_of
from spice_keras.words.vocabulary import Vocabulary
from tests.stages.made_run import CLUSTERS, COUNT, make_context, probabilities, truth

_WORDS = ("sea", "sand", "sky", "sun")
_NEIGHBORS = {
    "self__objective": "neighbors",
    "self__start": "words",
    "self__cached_views": {"weak": 0, "strong": 0},
    "self__refine_epochs": 0,
}


def _given(tmp_path: Path, **options: Any) -> Context:
    """A run with words of a file, three of which stand at its groups."""
    tmp_path.mkdir(exist_ok=True)
    np.savez(tmp_path / "words.npz", names=np.array(_WORDS), vectors=np.eye(4, 5))
    words = str(tmp_path / "words.npz")
    return make_context(tmp_path, words__vocabulary=words, **_NEIGHBORS | options)


def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spread: float) -> Context:
    """A run whose encoder knows the groups: the less, the larger `spread`."""
    known = Vocabulary(_WORDS, np.eye(4, 5), "drawn", temperature=spread, trained_with_labels=True)
    monkeypatch.setattr(vocabulary_module, "classifier_vocabulary", lambda backbone: known)
    monkeypatch.setattr(vocabulary_module, "SMALLEST_SIDE", 8)
    return make_context(tmp_path, backbone__name="efficientnet_lite0", **_NEIGHBORS)


def _decided(context: Context) -> Guidance:
    found = guidance_of(context)
    assert found is not None
    return found


def test_words_guide_if_the_encoder_knows_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _own(tmp_path, monkeypatch, spread=0.1)
    found = _decided(context)
    assert found.guide is not None
    assert set(found.guide.words) == {"sea", "sand", "sky"}
    expected = np.array([found.guide.words.index(_WORDS[group]) for group in truth()])
    np.testing.assert_array_equal(found.guide.clusters, expected)
    assert "words guide the clusters. The encoder learned these words with labels." in found.reason
    labeling = bound_objective(context, context.bank, found)
    assert isinstance(labeling.model, GuidedClustering)
    batch = next(iter(labeling.batches(0)))
    assert batch["label"].shape[1] == CLUSTERS


def test_words_only_name_if_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = _own(tmp_path, monkeypatch, spread=10.0)
    found = _decided(context)
    assert found.guide is None
    assert "words only name the clusters" in found.reason
    assert not isinstance(bound_objective(context, context.bank, found).model, GuidedClustering)


@pytest.mark.parametrize(("guide", "guides"), [("auto", False), ("always", True), ("never", False)])
def test_given_words_guide_on_request(guide: str, guides: bool, tmp_path: Path) -> None:
    found = _decided(_given(tmp_path, words__guide=guide))
    assert (found.guide is not None) == guides
    assert ("words.guide" in found.reason) == (not guides)


def test_without_words_or_without_a_start_at_words_nothing_is_decided(tmp_path: Path) -> None:
    assert guidance_of(make_context(tmp_path / "a", **_NEIGHBORS)) is None
    assert guidance_of(_given(tmp_path, self__start="mixed", words__guide="always")) is None


@pytest.mark.parametrize("guides", [True, False])
def test_what_was_decided_is_kept_and_told(guides: bool, tmp_path: Path) -> None:
    context = _given(tmp_path, words__guide="always" if guides else "never")
    found = _decided(context)
    every = np.tile(truth(), (3, 1))
    context.save(Heads(probabilities(truth(), 0.9), every, 1, 4, 0.8, guidance=found.facts()))
    read = context.load(Heads)
    assert read.guided == guides
    assert read.other_heads.shape == ((0, COUNT) if guides else (2, COUNT))
    setup = _head_setup(context)
    assert setup.start == ("words" if guides else "mixed")
    assert setup.guidance == found.reason


def _of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Context:
    """A run on an encoder of keras.applications whose classifier cannot be read."""

    def unreadable(backbone: str) -> Vocabulary:
        raise UserError(f"{backbone} has no classifier of one layer.")

    monkeypatch.setattr(vocabulary_module, "classifier_vocabulary", unreadable)
    monkeypatch.setattr(vocabulary_module, "SMALLEST_SIDE", 8)
    return make_context(tmp_path, backbone__name="keras:MobileNet", **_NEIGHBORS | options)


def test_words_of_other_encoders_name_the_clusters_and_guide_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How sure they are of their words was not measured, as it was for EfficientNet-Lite."""
    found = _decided(_of_keras(tmp_path / "a", monkeypatch))
    assert found.guide is None
    assert "words of keras:MobileNet name the clusters; with words.guide=always" in found.reason
    with pytest.raises(UserError, match="no classifier of one layer"):
        guidance_of(_of_keras(tmp_path / "b", monkeypatch, words__guide="always"))


def test_an_encoder_whose_words_cannot_be_read_is_a_reason_and_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _of_keras(tmp_path, monkeypatch).config
    assert words_of(config, has_images=True) == "keras:MobileNet has no classifier of one layer."
    asked = _given(tmp_path / "given").config
    vocabulary = words_of(asked, has_images=True)
    assert isinstance(vocabulary, Vocabulary)
    assert vocabulary.nouns == _WORDS
    (tmp_path / "given" / "words.npz").unlink()
    with pytest.raises(UserError, match=r"words\.npz"):
        words_of(asked, has_images=True)

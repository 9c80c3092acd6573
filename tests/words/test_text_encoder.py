"""Nouns read by a text encoder: a tiny CLIP of random weights, saved as a preset by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.words import text_encoder
from spice_keras.words.text_encoder import read_nouns, require_text_encoder, text_vocabulary
from tests.words.clip import tiny_clip

_NOUNS = ("cat", "dog", "cod")


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def _rows(preset: Path, prompt: str) -> np.ndarray:
    """Each noun alone through the model, without our code."""
    import keras_hub as hub

    backbone = hub.models.Backbone.from_preset(str(preset))
    reader = hub.models.CLIPPreprocessor.from_preset(str(preset))
    rows = []
    for noun in _NOUNS:
        tokens = reader({"prompts": [prompt.format(noun)], "images": None})["token_ids"]
        row = np.asarray(backbone.get_text_embeddings(tokens))[0]
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def test_vectors_are_the_mean_over_the_prompts(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoder, "_BATCH", 2)
    prompts = ("a {}", "a photo of a {}.")
    asked: dict[str, Any] = {"source": "three", "prompts": prompts, "cache": tmp_path / "kept"}
    found = text_vocabulary(f"hub:{preset}", _NOUNS, **asked)
    expected = (_rows(preset, prompts[0]) + _rows(preset, prompts[1])) / 2
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-4, atol=1e-5)
    assert (found.nouns, found.temperature, found.bias) == (_NOUNS, 0.01, None)
    assert found.source == f"three, read by hub:{preset}"
    assert not found.trained_with_labels


def test_underscores_are_read_but_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def rows(backbone: Any, preprocessor: Any, texts: list[str]) -> np.ndarray:
        read.extend(texts)
        return np.eye(len(texts))

    monkeypatch.setattr(text_encoder, "_text_encoder", lambda preset: (None, None))
    monkeypatch.setattr(text_encoder, "_text_rows", rows)
    nouns, asked = ("cat", "guide dog"), {"source": "two", "cache": tmp_path}
    for spelled in (True, False):
        found = text_vocabulary("hub:any", nouns, underscores=spelled, **asked)  # type: ignore[arg-type]
        assert found.nouns == nouns
    assert read == [
        "a photo of a cat.", "a photo of a guide_dog.",
        "a photo of a cat.", "a photo of a guide dog.",
    ]  # fmt: skip


def test_vectors_are_kept_until_something_changes(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = text_vocabulary(f"hub:{preset}", _NOUNS, source="three", cache=tmp_path)
    (kept,) = tmp_path.iterdir()

    def refuse(preset: str) -> None:
        raise AssertionError("the model was loaded again")

    with monkeypatch.context() as patch:
        patch.setattr(text_encoder, "_text_encoder", refuse)
        again = text_vocabulary(f"hub:{preset}", _NOUNS, source="three", cache=tmp_path)
        np.testing.assert_array_equal(again.vectors, first.vectors)
        with pytest.raises(AssertionError):
            text_vocabulary(f"hub:{preset}", _NOUNS[:2], source="two", cache=tmp_path)
    kept.write_bytes(kept.read_bytes()[:50])
    mended = text_vocabulary(f"hub:{preset}", _NOUNS, source="three", cache=tmp_path)
    np.testing.assert_array_equal(mended.vectors, first.vectors)


def test_a_cache_that_cannot_be_written_is_left_out(preset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = text_vocabulary(f"hub:{preset}", _NOUNS, source="three", cache=tmp_path / "file" / "x")
    assert found.vectors.shape == (3, 6)


def test_a_preset_that_cannot_be_had() -> None:
    pytest.importorskip("keras_hub", reason="needs spice-keras[hub]")
    with pytest.raises(UserError, match=r"(?s)cannot load the preset .* --words FILE"):
        text_vocabulary("hub:/no/such/folder", _NOUNS, source="three")


def test_encoders_without_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="efficientnet_lite0 has no text encoder"):
        text_vocabulary("efficientnet_lite0", _NOUNS, source="three", cache=tmp_path)


@pytest.mark.parametrize("prompts", [(), ("a photo",), ("{} and {}",), ("{noun}",)])
def test_prompts_have_one_place_for_the_noun(prompts: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"one \{\} for the noun"):
        text_vocabulary("hub:clip", _NOUNS, source="three", prompts=prompts)


def test_without_keras_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'spice-keras\[hub\]'.*--words FILE"):
        require_text_encoder()


def test_nouns_come_from_a_list_or_from_wordnet(tmp_path: Path) -> None:
    listed = tmp_path / "nouns.txt"
    listed.write_text("cat\nguide dog\n")
    index = tmp_path / "index.noun"
    index.write_text("  1 licence\nguide_dog n 1 2 @ ; 1 0 02109525\ncat n 1 2 @ ; 1 0 02121620\n")
    assert read_nouns(str(listed)) == ("cat", "guide dog")
    assert read_nouns(str(index)) == ("guide dog", "cat")

"""Vocabularies and their doors: files, lists, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.words.hierarchy import Hierarchy
from spice_keras.words.vocabulary import (
    Vocabulary,
    classifier_vocabulary,
    nouns_from_file,
    vocabulary_from_file,
)

_TWO = np.eye(2, 3, dtype=np.float32)


def _vocabulary(nouns: tuple[str, ...] = ("cat", "dog"), **changes: Any) -> Vocabulary:
    return Vocabulary(**{"nouns": nouns, "vectors": _TWO, "source": "of the test"} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nouns": ()}, "is empty"),
        ({"nouns": ("cat", "cat")}, "more than once: 'cat'"),
        ({"nouns": ("cat", " ")}, "blank or hold control characters, the first at place 2"),
        ({"nouns": ("cat\n", "dog")}, "the first at place 1"),
        ({"vectors": np.eye(3)}, r"must have the shape \(2, D\)\. Received: \(3, 3\)"),
        ({"vectors": np.zeros(2)}, r"Received: \(2,\)"),
        (
            {"vectors": np.array([[1, np.nan], [0, 1]])},
            "NaN or infinite values in .* 1 nouns .'cat'",
        ),
        ({"vectors": np.array([[1, 0], [1e300, 1]])}, "NaN or infinite values in .*'dog'"),
        ({"vectors": np.array([["a"], ["b"]])}, "vectors of .* must be numbers"),
        ({"bias": np.zeros(3)}, r"must be 2 finite numbers\. Received: shape \(3,\)"),
        ({"bias": np.array([0, np.inf])}, "finite numbers"),
        ({"temperature": 0.0}, "number above 0"),
        ({"temperature": float("nan")}, "number above 0"),
        ({"vectors": np.array([[1, 0], [0, 0]]), "temperature": 0.01}, "only zeros, in .*'dog'"),
    ],
)
def test_a_vocabulary_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _vocabulary(**changes)


def test_a_vocabulary_that_can() -> None:
    vocabulary = _vocabulary(vectors=_TWO.astype(np.float64), bias=np.zeros(2))
    assert vocabulary.vectors.dtype == np.float32
    assert (vocabulary.num_words, vocabulary.dim) == (2, 3)
    assert vocabulary.concepts().ids == ("cat", "dog")
    with pytest.raises(ValueError, match="hierarchy of 2 words"):
        _vocabulary(hierarchy=Hierarchy.flat(["a", "b", "c"]))


def test_what_does_not_fit_the_run() -> None:
    _vocabulary().check_fits(3, num_clusters=2)
    with pytest.raises(UserError, match="vectors of 3 numbers, but the embeddings have 4"):
        _vocabulary().check_fits(4, num_clusters=2)
    with pytest.raises(UserError, match="has 2 words, too few for 3 clusters"):
        _vocabulary().check_fits(3, num_clusters=3)


def test_words_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.npz"
    np.savez(path, names=["cat", "dog"], vectors=_TWO, ids=np.arange(9))
    vocabulary = vocabulary_from_file(path)
    assert (vocabulary.nouns, vocabulary.temperature) == (("cat", "dog"), 0.01)
    np.testing.assert_array_equal(vocabulary.vectors, _TWO)
    np.savez(path, names=["cat", "dog"], vectors=_TWO, temperature=0.5)
    assert vocabulary_from_file(path).temperature == 0.5
    np.savez(path, names=["cat", "dog"], vectors=_TWO, bias=[1, 2])
    vocabulary = vocabulary_from_file(path)
    assert vocabulary.temperature is None
    np.testing.assert_array_equal(vocabulary.bias, [1.0, 2.0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": _TWO}, "Missing: names; found: vectors"),
        ({"names": ["cat", "dog"]}, "Missing: vectors; found: names"),
        ({"other": _TWO}, "Missing: names, vectors; found: nothing"),
        ({"names": [1, 2], "vectors": _TWO}, "must be a list of strings. Received: int64"),
        ({"names": [["cat", "dog"]], "vectors": _TWO}, r"Received: <U3 of shape \(1, 2\)"),
        ({"names": np.array(["cat", None], object), "vectors": _TWO}, "holds Python objects"),
        ({"names": ["cat", "dog"], "vectors": _TWO, "temperature": [1, 2]}, "must be one number"),
    ],
)
def test_an_npz_file_without_words(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "words.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        vocabulary_from_file(path)


def test_a_file_that_is_not_npz(tmp_path: Path) -> None:
    path = tmp_path / "words.npz"
    with pytest.raises(UserError, match="There is no file"):
        vocabulary_from_file(path)
    path.write_text("names")
    with pytest.raises(UserError, match="damaged"):
        vocabulary_from_file(path)
    np.save(tmp_path / "array.npy", _TWO)
    with pytest.raises(UserError, match=r"is not an \.npz file"):
        vocabulary_from_file(tmp_path / "array.npy")
    np.savez(path, names=["cat", "dog"], vectors=_TWO)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        vocabulary_from_file(path)


def test_a_list_of_nouns(tmp_path: Path) -> None:
    path = tmp_path / "nouns.txt"
    path.write_text("\ufeffglass bottle  # of any colour\n\n# metals\n  can\n", encoding="utf-8")
    assert nouns_from_file(path) == ("glass bottle", "can")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only a remark\n", "is empty"),
        (b"can\nbox\ncan\nbox\nbag\nlid\n", "lists 2 nouns more than once: 'can', 'box'. Keep"),
        (b"caf\xe9\n", "not a text file in UTF-8"),
        (b"a\x07b\n", "control characters"),
        (None, "Cannot read the nouns"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "nouns.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        nouns_from_file(path)


def test_a_backbone_without_words() -> None:
    with pytest.raises(UserError, match="'resnet18' brings no words of its own"):
        classifier_vocabulary("resnet18")

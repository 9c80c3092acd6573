"""The shipped table of WordNet, the script that makes it, and the reader of an installed one."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.words import wordnet
from spice_keras.words.wordnet import (
    imagenet_glosses,
    imagenet_hierarchy,
    imagenet_nouns,
    wordnet_nouns,
)

_SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "wordnet_table.py"
_DATA = """\
  1 This software and database is being provided to you, the LICENSEE, by  
  2 Princeton University under the following license.  
00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | that which is  
00000002 05 n 02 dog 0 domestic_dog 1 002 @ 00000001 n 0000 ~ 00000003 n 0000 | a pet; "good dog"  
00000003 05 n 01 Great_Dane a 003 @ 00000002 n 0000 #m 00000001 n 0000 + 00000009 v 0101 | large  
00000004 18 n 01 Lassie 0 001 @i 00000002 n 0000 | a dog of films  
00000005 05 n 01 dog 2 000 | another, unrelated  
"""  # noqa: W291 - WordNet's lines end with blanks
_INDEX = "  1 a licence\ndog n 2 1 @ 2 1 00000002 00000005\ngreat_dane n 1 1 @ 1 0 00000003\n"


def _concept(one: str) -> int:
    return imagenet_hierarchy().ids.index(one)


def test_the_table_holds_the_classes_and_everything_above_them() -> None:
    hierarchy = imagenet_hierarchy()
    assert (len(hierarchy.ids), len(hierarchy.word_concepts)) == (1860, 1000)
    roots = [one for one, up in zip(hierarchy.ids, hierarchy.parents, strict=True) if not up]
    assert roots == ["n00001740"]
    assert hierarchy.num_words[_concept("n00001740")] == 1000
    assert len(imagenet_glosses()) == 1860
    assert imagenet_glosses()["n02084071"].startswith("a member of the genus Canis")


def test_the_words_are_in_the_order_of_the_classifiers() -> None:
    hierarchy = imagenet_hierarchy()
    ids = [hierarchy.ids[concept] for concept in hierarchy.word_concepts]
    assert ids == sorted(ids)
    nouns = imagenet_nouns()
    assert len(set(nouns)) == 1000
    # Places that every list of ImageNet's classes agrees on.
    known = {
        0: "tench",
        217: "English springer",
        482: "cassette player",
        497: "church",
        574: "golf ball",
    }
    assert {place: nouns[place] for place in known} == known
    assert nouns[134] == "crane (wading bird)"
    assert nouns[517] == "crane (lifting device)"


@pytest.mark.parametrize(
    ("one", "word", "num_words"),
    [("n02084071", "dog", 118), ("n01503061", "bird", 59), ("n04490091", "truck", 8)],
)
def test_words_below_a_concept(one: str, word: str, num_words: int) -> None:
    hierarchy = imagenet_hierarchy()
    assert hierarchy.lemmas[_concept(one)][0] == word
    assert hierarchy.num_words[_concept(one)] == num_words
    uniform = np.full(1000, 1e-3)
    assert hierarchy.masses(uniform)[_concept(one)] == pytest.approx(num_words / 1000)


def test_too_broad_concepts_are_those_that_are_listed() -> None:
    hierarchy = imagenet_hierarchy()
    broad = {
        one: lemmas[0]
        for one, lemmas, is_broad in zip(
            hierarchy.ids, hierarchy.lemmas, hierarchy.broad, strict=True
        )
        if is_broad
    }
    assert broad == wordnet._BROAD
    assert not {"dog", "bird", "car", "boat", "aircraft"} & set(broad.values())


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wordnet_table", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_a_line_a_synset() -> None:
    script = _script()
    synsets = script.read_synsets(_DATA.splitlines())
    counts = script.read_counts(
        ["dog%1:05:00:: 1 40", "domestic_dog%1:05:01:: 1 2", "dog%2:35:00:: 1 9"]
    )
    rows = [
        line.split("\t")
        for line in script.table(["n00000004", "n00000003"], synsets, counts).splitlines()
    ]
    assert rows[0] == ["id", "class", "count", "parents", "lemmas", "gloss"]
    assert rows[1:] == [
        ["n00000001", "", "0", "", "entity", "that which is"],
        ["n00000002", "", "42", "n00000001", "dog|domestic dog", 'a pet; "good dog"'],
        ["n00000003", "0", "0", "n00000002", "Great Dane", "large"],
        ["n00000004", "1", "0", "n00000002", "Lassie", "a dog of films"],
    ]
    assert script.licence(_DATA.splitlines()) == (
        "This software and database is being provided to you, the LICENSEE, by\n"
        "Princeton University under the following license.\n"
    )


@pytest.mark.skipif(
    not Path("/usr/share/wordnet/data.noun").is_file(), reason="Debian's wordnet-base is missing"
)
def test_the_shipped_table_is_what_the_script_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wordnet_table.py", "--out", str(tmp_path)])
    _script().main()
    for name in ("wordnet.tsv", "LICENSE.wordnet"):
        shipped = files("spice_keras.words").joinpath(name).read_bytes()
        assert (tmp_path / name).read_bytes() == shipped


def test_wordnets_licence_lies_beside_the_table() -> None:
    text = files("spice_keras.words").joinpath("LICENSE.wordnet").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University." in text
    assert "appear on ALL copies" in text


def test_nouns_of_an_installed_wordnet(tmp_path: Path) -> None:
    data, index = tmp_path / "data.noun", tmp_path / "index.noun"
    data.write_text(_DATA)
    index.write_text(_INDEX)
    assert wordnet_nouns(data) == ("entity", "dog", "Great Dane", "Lassie")
    assert wordnet_nouns(data, literal=True) == ("entity", "dog", "Great_Dane", "Lassie", "dog")
    assert wordnet_nouns(index) == ("dog", "great dane")


def test_a_file_that_is_not_wordnets(tmp_path: Path) -> None:
    other = tmp_path / "data.verb"
    other.write_text("00001740 29 v 04 breathe 0 | draw air\n")
    with pytest.raises(UserError, match=r"does not look like WordNet's list of nouns"):
        wordnet_nouns(other)
    with pytest.raises(UserError, match="wordnet-base"):
        wordnet_nouns(tmp_path / "missing")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="Cannot read WordNet's nouns"):
        wordnet_nouns(binary)

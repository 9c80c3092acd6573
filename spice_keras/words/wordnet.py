"""WordNet's nouns: the 1,000 of ImageNet's classifiers with all above them, and the whole index.

The table ships with the package, under WordNet's own licence, `LICENSE.wordnet` beside this file.
`tools/wordnet_table.py` makes it from WordNet 3.0.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from spice_keras.errors import UserError
from spice_keras.words.hierarchy import Hierarchy

# Concepts that say too little to name a group of images, by the word WordNet lists first.
_BROAD = {
    "n00001740": "entity",
    "n00001930": "physical entity",
    "n00002137": "abstraction",
    "n00002684": "object",
    "n00003553": "whole",
    "n00004258": "living thing",
    "n00004475": "organism",
    "n00015388": "animal",
    "n00019128": "natural object",
    "n00019613": "substance",
    "n00020090": "substance",
    "n00020827": "matter",
    "n00021939": "artifact",
    "n01466257": "chordate",
    "n01471682": "vertebrate",
    "n01767661": "arthropod",
    "n01861778": "mammal",
    "n01886756": "placental",
    "n01905661": "invertebrate",
    "n03051540": "clothing",
    "n03076708": "commodity",
    "n03093574": "consumer goods",
    "n03094503": "container",
    "n03100490": "conveyance",
    "n03122748": "covering",
    "n03183080": "device",
    "n03257877": "durables",
    "n03294048": "equipment",
    "n04451818": "tool",
    "n03699975": "machine",
    "n03405265": "furnishing",
    "n03563967": "implement",
    "n03574816": "instrument",
    "n03575240": "instrumentality",
    "n03733925": "measuring instrument",
    "n03736970": "mechanical device",
    "n03738472": "mechanism",
    "n03839993": "obstruction",
    "n04014297": "protective covering",
    "n04081844": "restraint",
    "n04341686": "structure",
    "n11675842": "reproductive structure",
    "n13086908": "plant part",
    "n13087625": "plant organ",
    "n15046900": "solid",
}
# Texts say these of everything that lives, so how often says nothing about the level of a name.
_SAID_OF_ALL_LIFE = {"n00004258", "n00004475", "n00015388"}
_TABLE = "wordnet.tsv"


def imagenet_hierarchy() -> Hierarchy:
    """Read the nouns of ImageNet's 1,000 classes and everything above them in WordNet.

    Returns:
        A hierarchy of 1,860 synsets. Its words are the classes in the order of their ids, which is
        the order of the classifiers that were trained on them.

    WordNet (Miller 1995); ImageNet (Russakovsky et al. 2015) Sec. 3.1.
    """
    return _imagenet_hierarchy()


@cache
def _imagenet_hierarchy() -> Hierarchy:
    text = files("spice_keras.words").joinpath(_TABLE).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    ids = tuple(row[0] for row in rows)
    place = {one: number for number, one in enumerate(ids)}
    classes = {int(row[1]): number for number, row in enumerate(rows) if row[1]}
    return Hierarchy(
        ids=ids,
        lemmas=tuple(tuple(row[4].split("|")) for row in rows),
        parents=tuple(tuple(place[parent] for parent in row[3].split()) for row in rows),
        word_concepts=np.array([classes[word] for word in range(len(classes))]),
        counts=np.array([0 if row[0] in _SAID_OF_ALL_LIFE else int(row[2]) for row in rows]),
        broad=np.array([one in _BROAD for one in ids]),
    )


def imagenet_glosses() -> dict[str, str]:
    """Read what WordNet says of each synset of `imagenet_hierarchy`, by id."""
    text = files("spice_keras.words").joinpath(_TABLE).read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {row[0]: row[5] for row in rows}


@cache
def imagenet_nouns() -> tuple[str, ...]:
    """Read the names of ImageNet's 1,000 classes, in the order of the classifiers.

    Returns:
        WordNet's first lemma of each; if two classes share it, with a word above each in
        parentheses: "crane (wading bird)" and "crane (lifting device)".
    """
    hierarchy = imagenet_hierarchy()
    own = [hierarchy.lemmas[concept][0] for concept in hierarchy.word_concepts]
    shared = {noun for noun, count in Counter(own).items() if count > 1}
    parents = [hierarchy.parents[concept][0] for concept in hierarchy.word_concepts]
    return tuple(
        f"{noun} ({hierarchy.lemmas[parent][0]})" if noun in shared else noun
        for noun, parent in zip(own, parents, strict=True)
    )


def wordnet_nouns(path: str | Path, *, literal: bool = False) -> tuple[str, ...]:
    """Read all nouns of an installed WordNet.

    Args:
        path: Its file `index.noun`, a list of lemmas, or `data.noun`, a list of synsets. Debian's
            package `wordnet-base` puts both into /usr/share/wordnet.
        literal: Whether to keep the nouns as they are written, with underscores and, in
            `data.noun`, with every repetition, as the published code of SIC does.

    Returns:
        The nouns in the order of the file: each once, with blanks for underscores, unless
        `literal`. Of a synset, its first lemma.

    Raises:
        UserError: If the file cannot be read or lists no nouns.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"Cannot read WordNet's nouns from {path} ({error}). Install WordNet, for example "
            "Debian's package wordnet-base, and give the path of its index.noun or data.noun."
        ) from error
    rows = [line.split(" ") for line in lines if line and not line.startswith("  ")]
    # lemma n ... in the index; offset file n count lemma ... in the data.
    nouns = [row[0] if row[1] == "n" else row[4] for row in rows if "n" in row[1:3] and row[4:]]
    if not nouns:
        raise UserError(
            f"{path} does not look like WordNet's list of nouns. "
            "Give the path of WordNet's index.noun or data.noun."
        )
    return tuple(nouns) if literal else tuple(dict.fromkeys(_readable(noun) for noun in nouns))


def is_wordnet(path: str | Path) -> bool:
    """Tell one of WordNet's files of nouns by its name.

    Args:
        path: A file.

    Returns:
        Whether `wordnet_nouns` reads it.
    """
    return Path(path).name in ("index.noun", "data.noun")


def _readable(noun: str) -> str:
    return noun.replace("_", " ")

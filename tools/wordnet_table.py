"""Make the table of WordNet's nouns that ships with the package, `spice_keras/words/wordnet.tsv`.

    python tools/wordnet_table.py

It holds the 1,000 nouns of the ImageNet classifiers and everything above them in WordNet 3.0, one
synset a line. It reads `data.noun` and `cntlist.rev` of Debian's package `wordnet-base` and the
list of ImageNet's classes that TensorFlow Datasets ships, and it writes WordNet's licence beside
the table. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_WORDNET = Path("/usr/share/wordnet")
_CLASSES = "image_classification/imagenet_resized_labels.txt"
_NUM_CLASSES = 1000
_HEADER = ("id", "class", "count", "parents", "lemmas", "gloss")
# A hypernym, and the class an instance belongs to.
_UP = {"@", "@i"}


class Synset:
    """One line of `data.noun`: its number, lemmas, parents, gloss and how often it is meant."""

    def __init__(self, line: str) -> None:
        fields, _, gloss = line.partition(" | ")
        words = fields.split(" ")
        self.id = f"n{words[0]}"
        count = int(words[3], 16)
        pairs = [words[4 + 2 * place : 6 + 2 * place] for place in range(count)]
        self.lemmas = [lemma for lemma, _ in pairs]
        # A sense is counted under lemma%part of speech:lexicographer's file:number in that file.
        self.senses = [f"{lemma.lower()}%1:{words[1]}:{int(n, 16):02d}::" for lemma, n in pairs]
        pointers = words[5 + 2 * count :]
        quads = [pointers[start : start + 4] for start in range(0, len(pointers), 4)]
        self.parents = [f"n{quad[1]}" for quad in quads if quad[0] in _UP]
        self.gloss = gloss.strip()


def read_synsets(lines: Iterable[str]) -> dict[str, Synset]:
    """Read all nouns of `data.noun`, by id."""
    found = (Synset(line) for line in lines if not line.startswith("  "))
    return {synset.id: synset for synset in found}


def read_counts(lines: Iterable[str]) -> dict[str, int]:
    """Read how often each sense was tagged in texts, from `cntlist.rev`."""
    rows = (line.split() for line in lines)
    return {sense: int(count) for sense, _, count in rows}


def with_hypernyms(ids: Iterable[str], synsets: dict[str, Synset]) -> list[str]:
    """List the synsets and everything above them, sorted."""
    found: set[str] = set()
    waiting = [*ids]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += synsets[one].parents
    return sorted(found)


def table(classes: list[str], synsets: dict[str, Synset], counts: dict[str, int]) -> str:
    """Write one line a synset; a class has its place in the classifier, others have none."""
    places = {one: str(place) for place, one in enumerate(sorted(classes))}
    rows = ["\t".join(_HEADER)]
    for one in with_hypernyms(classes, synsets):
        synset = synsets[one]
        count = sum(counts.get(sense, 0) for sense in synset.senses)
        lemmas = "|".join(lemma.replace("_", " ") for lemma in synset.lemmas)
        parents = " ".join(sorted(synset.parents))
        rows.append(
            "\t".join((one, places.get(one, ""), str(count), parents, lemmas, synset.gloss))
        )
    return "\n".join(rows) + "\n"


def licence(lines: Iterable[str]) -> str:
    """Return the licence that heads each of WordNet's files, without its line numbers."""
    head = [line for line in lines if line.startswith("  ")]
    return "\n".join(line.strip().partition(" ")[2].strip() for line in head).strip() + "\n"


def _class_list() -> Path:
    spec = importlib.util.find_spec("tensorflow_datasets")
    if spec is None or spec.origin is None:
        sys.exit("TensorFlow Datasets is not installed: pip install tensorflow-datasets.")
    return Path(spec.origin).parent / _CLASSES


def main() -> None:
    """Read, check the number of classes, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, default=_WORDNET, help="folder of data.noun")
    parser.add_argument("--out", type=Path, default=_ROOT / "spice_keras" / "words")
    options = parser.parse_args()
    if not (options.wordnet / "data.noun").is_file():
        sys.exit(f"{options.wordnet} has no data.noun: apt install wordnet-base, or --wordnet.")
    lines = (options.wordnet / "data.noun").read_text(encoding="utf-8").splitlines()
    counts = read_counts((options.wordnet / "cntlist.rev").read_text().splitlines())
    classes = _class_list().read_text().split()
    if len({*classes}) != _NUM_CLASSES:
        sys.exit(f"Expected {_NUM_CLASSES} different classes, found {len({*classes})}.")
    text = table(classes, read_synsets(lines), counts)
    (options.out / "wordnet.tsv").write_text(text, encoding="utf-8")
    (options.out / "LICENSE.wordnet").write_text(licence(lines), encoding="utf-8")
    sys.stdout.write(f"{text.count(chr(10)) - 1} synsets, {len(text.encode())} bytes\n")


if __name__ == "__main__":
    main()

"""Words as a guide: accuracy without and with them, on features of efficientnet_lite0.

    python -m benchmarks.guide FEATURES.npz ... [--seeds 3] [--rows 2000] [--ratio 10] [--kinds 5]

Each file holds `features`, as the encoder gives them at 224 pixels, and `labels`, which only judge.
For each seed, rows are drawn, evenly or with sizes that fall geometrically to 1 : RATIO, of all
classes or of KINDS of them. With --fit-only nothing is trained: it says what the gate decides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spice_keras import SpiceClusterer
from spice_keras.metrics.clustering import adjusted_rand_index, clustering_accuracy
from spice_keras.words.guide import vocabulary_guides, word_guide
from spice_keras.words.vocabulary import Vocabulary, classifier_vocabulary


def drawn_rows(labels: np.ndarray, count: int, ratio: float, seed: int) -> np.ndarray:
    """Draw rows of every class, their numbers even or falling to 1 : ratio."""
    generator = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    shares = generator.permutation(np.geomspace(1.0, 1.0 / ratio, len(classes)))
    wanted = np.minimum(shares * count / shares.sum(), (shares * sizes.min()).max())
    wanted = np.maximum(1, wanted).astype(int)
    rows = [
        generator.choice(np.flatnonzero(labels == one), min(number, size), replace=False)
        for one, number, size in zip(classes, wanted, sizes, strict=True)
    ]
    return generator.permutation(np.concatenate(rows))


def drawn_kinds(labels: np.ndarray, kinds: int, seed: int) -> np.ndarray:
    """Draw classes, and return all their rows."""
    drawn = np.random.default_rng(1000 + seed).permutation(np.unique(labels))[:kinds]
    return np.flatnonzero(np.isin(labels, drawn))


def compared(
    features: np.ndarray, labels: np.ndarray, words: Vocabulary, seed: int, *, fit_only: bool
) -> str:
    """Cluster without words and with them, and put the figures into a line."""
    count = len(np.unique(labels))
    fit = word_guide(words, features, count).fit
    said = [f"fit {fit:.3f} ({'guides' if vocabulary_guides(fit) else 'names only'})"]
    if fit_only:
        return said[0]
    for title, clusterer in {
        "without": SpiceClusterer(count, random_state=seed),
        "with": SpiceClusterer(count, random_state=seed, start="words", words=words),
    }.items():
        found = clusterer.fit_predict(features)
        said.append(
            f"{title} {clustering_accuracy(labels, found):.3f} / "
            f"{adjusted_rand_index(labels, found):.3f}"
        )
    return "  ".join(said)


def main() -> None:
    """Compare on each file and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--ratio", type=float, default=1.0)
    parser.add_argument("--kinds", type=int, help="Classes that are drawn; all if left out.")
    parser.add_argument("--fit-only", action="store_true", help="Say what the gate decides.")
    asked = parser.parse_args()
    words = classifier_vocabulary("efficientnet_lite0")
    for path in asked.files:
        with np.load(path, allow_pickle=False) as archive:
            features, labels = archive["features"], archive["labels"]
        for seed in range(asked.seeds):
            known = np.arange(len(labels))
            if asked.kinds is not None:
                known = drawn_kinds(labels, asked.kinds, seed)
            rows = known[drawn_rows(labels[known], asked.rows, asked.ratio, seed)]
            line = compared(features[rows], labels[rows], words, seed, fit_only=asked.fit_only)
            print(f"{path.stem}  {len(rows)} rows  seed {seed}  {line}", flush=True)


if __name__ == "__main__":
    main()

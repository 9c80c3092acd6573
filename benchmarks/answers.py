"""What 50 answers are worth: held-out accuracy by which images a person was asked.

The person is simulated by the true labels of the asked images alone. Clusters are told apart by the
matching of all training images' clusters with the classes, as a person would name them.

    python benchmarks/answers.py FEATURES.npz ... --answers 50 --seeds 5

A file holds `features` [N, D] and `labels` [N].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from spice_keras import SpiceClusterer
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.clustering.representatives import representatives, worth_asking
from spice_keras.heads.answers import learn_answers

_TRAINED = 0.6


def trial(features: np.ndarray, labels: np.ndarray, answers: int, seed: int) -> dict[str, float]:
    """Accuracy on held-out rows: before, and after asking by each rule."""
    order = np.random.default_rng(seed).permutation(len(features))
    cut = int(_TRAINED * len(features))
    train, held = order[:cut], order[cut:]
    count = len(np.unique(labels))
    clusterer = SpiceClusterer(count, n_heads=4, epochs=30, random_state=seed).fit(features[train])
    prior = clusterer.predict_proba(features[train])
    shared = np.zeros((count, count))
    np.add.at(shared, (clusterer.labels_, labels[train]), 1)
    clusters, classes = linear_sum_assignment(-shared)
    cluster_of = np.empty(count, int)
    cluster_of[classes] = clusters
    truth, wanted = cluster_of[labels[train]], cluster_of[labels[held]]
    rows = clusterer.space_.unit_rows(features[train])
    unseen = clusterer.space_.unit_rows(features[held])
    near = nearest_neighbors(rows, 11)[:, 1:]
    least = np.argsort(prior.max(axis=1), kind="stable")[:answers]
    asked = {
        "queue": [one.row for one in worth_asking(rows, prior.max(axis=1), answers, seed=seed)],
        "representative": representatives(rows, answers, seed=seed).rows,
        "random": np.random.default_rng(seed).choice(cut, answers, replace=False),
        "least certain": least,
    }
    found = {"before": float((clusterer.predict(features[held]) == wanted).mean())}
    for rule, picked in asked.items():
        chosen = np.asarray(picked)
        taught = learn_answers(rows, near, prior, chosen, truth[chosen])
        said = (unseen @ taught.kernel + taught.bias).argmax(axis=1)
        found[rule] = float((said == wanted).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--answers", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    for path in asked.files:
        with np.load(path, allow_pickle=False) as archive:
            features, labels = archive["features"], archive["labels"]
        trials = [trial(features, labels, asked.answers, seed) for seed in range(asked.seeds)]
        before = np.mean([one["before"] for one in trials])
        gains = {
            rule: 100 * (np.mean([one[rule] for one in trials]) - before)
            for rule in trials[0]
            if rule != "before"
        }
        listed = ", ".join(f"{rule} {gain:+.1f}" for rule, gain in gains.items())
        print(f"{path.stem}: before {100 * before:.1f} %; {listed}", flush=True)


if __name__ == "__main__":
    main()

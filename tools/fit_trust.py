"""Fits the mapping from figures without labels to expected accuracy; writes its numbers.

    python tools/fit_trust.py cluster CLUSTERINGS steel.npz digits.npz ... --count 260
    python tools/fit_trust.py fit CLUSTERINGS spice_keras/metrics/expected_accuracy.json
    python tools/fit_trust.py reliability CLUSTERINGS
    python tools/fit_trust.py cluster GUIDED steel.npz cifar.npz ... --count 240 --guided
    python tools/fit_trust.py fit-guided GUIDED spice_keras/metrics/expected_accuracy_guided.json
    python tools/fit_trust.py cluster OTHER steel.npz digits.npz ... --objective prototypes
    python tools/fit_trust.py judge OTHER

The first command draws clusterings, each of one data set (an .npz with `features` and `labels`):
of some of its classes in even or uneven numbers, sometimes with noise added to the features, with
the true number of clusters or another. The second fits the mapping on all of them, and says how
well it does on each data set when it is fitted on the others. With `--guided`, one head begins at
words of efficientnet_lite0, whose features the sets then hold, and learns their probabilities, as
heads of `GuidedClustering` do; it is trained in NumPy, which starts at once. `judge` says how well
the mapping that is shipped does on clusterings it was not fitted on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from scipy.stats import spearmanr

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.feature_space import fitted_space
from spice_keras.files import write_json
from spice_keras.metrics.calibration import cautious, temperature_for, tempered
from spice_keras.metrics.clustering import clustering_accuracy, purity
from spice_keras.metrics.expected_accuracy import (
    Judged,
    applies,
    expected_accuracy,
    fit_mapping,
    fit_mean_mapping,
    foretold,
    guided_figures,
    log_odds,
    trust_figures,
)
from spice_keras.options import ENTROPY_WEIGHTS, LITE0, Objective, Sizes, head_training
from spice_keras.words.guide import WordGuide, vocabulary_guides, word_guide
from spice_keras.words.probabilities import softmax
from spice_keras.words.vocabulary import classifier_vocabulary

Fit = Callable[[np.ndarray, np.ndarray], dict[str, Any]]
_RANGE, _UNEVEN = (0.06, 0.94), 1 / 3
_BINS = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.01)
_LARGE_BATCH, _HIDDEN_DIM = 1000, 256  # of SPICE-Self, as SpiceClusterer has them
_SURE_AT_START = 0.7  # mean largest probability of a head at its start


@click.group()
def main() -> None:
    """Fit the mapping from figures without labels to expected accuracy."""


def drawn_set(
    features: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw some classes of a data set, in even or uneven numbers.

    Args:
        features: [N, D].
        labels: int [N].
        generator: What decides.

    Returns:
        Features and labels of the drawn items, the labels from 0.
    """
    classes = np.unique(labels)
    kinds = int(generator.integers(3, min(len(classes), 20) + 1))
    kept = np.isin(labels, generator.permutation(classes)[:kinds])
    features, labels = features[kept], np.unique(labels[kept], return_inverse=True)[1]
    ratio = float(generator.choice([1, 1, 3, 10]))
    members = [generator.permutation(np.flatnonzero(labels == kind)) for kind in range(kinds)]
    total = int(generator.choice([400, 800, 1200]))
    most = min(min(map(len, members)), (2 if ratio > 1 else 1) * total // kinds)
    shares = ratio ** (-generator.permutation(kinds) / max(1, kinds - 1))
    sizes = np.maximum(5, np.round(max(1, most) * shares)).astype(int)
    rows = np.concatenate([one[:size] for one, size in zip(members, sizes, strict=True)])
    rows.sort()
    return features[rows].astype(np.float32), labels[rows]


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--count", type=int, default=260, help="Clusterings in all.")
@click.option("--guided", is_flag=True, help="The head begins at words of efficientnet_lite0.")
@click.option("--objective", type=click.Choice(["neighbors", "prototypes"]), default="neighbors")
@click.option("--seed", type=int, default=5000, help="Seed of the first.")
def cluster(
    out: Path, sets: tuple[Path, ...], count: int, guided: bool, objective: Objective, seed: int
) -> None:
    """Draw clusterings of SETS into the folder OUT; those that are there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = out / f"{number}.npz"
        if path.exists():
            continue
        generator = np.random.default_rng(seed + number)
        source = sets[number % len(sets)]
        with np.load(source) as archive:
            features, labels = drawn_set(archive["features"], archive["labels"], generator)
        noise = float(generator.choice([0, 0, 0, 1, 2]))
        if noise:
            spread = noise * features.std(axis=0)
            features = np.abs(features + spread * generator.normal(size=features.shape))
        kinds = int(labels.max()) + 1
        wanted = int(np.clip(round(kinds * generator.choice([1, 1, 1, 0.5, 0.7, 1.5, 2])), 2, 60))
        sizes: Sizes = "uneven" if generator.random() < _UNEVEN else "even"
        if guided:
            found = guided_clustered(features, wanted, sizes, number)
        else:
            found = clustered(features, wanted, sizes, number, objective)
        found |= {"y": labels, "name": np.array(source.stem.partition("_")[0])}
        np.savez_compressed(path, **found)  # type: ignore[arg-type]
        click.echo(f"{number} {source.stem}: {kinds} kinds, {wanted} clusters, {len(labels)} items")


def clustered(
    features: np.ndarray, num_clusters: int, sizes: Sizes, seed: int, objective: Objective
) -> dict[str, np.ndarray]:
    """Cluster features as a run on embeddings does.

    Args:
        features: [N, D].
        num_clusters: K.
        sizes: "even" or "uneven".
        seed: Seed of the heads.
        objective: "neighbors" or "prototypes".

    Returns:
        Clusters of all heads `c` [H, N], the chosen one `j` and its probabilities `p` [N, K],
        neighbours `nb`, unit rows `z`, and `K`.
    """
    from spice_keras.heads import objectives
    from spice_keras.heads.feature_bank import unit_feature_bank
    from spice_keras.heads.selection import head_logits
    from spice_keras.options import SelfVariant

    recipe = head_training(objective, len(features), num_clusters)
    half = max(1, len(features) // (2 * num_clusters))
    bank = unit_feature_bank(
        features,
        for_heads=min(10, half),
        for_reliability=max(2, min(50, half)),
        space=fitted_space(features),
    )
    options = objectives.HeadOptions(
        num_clusters,
        start="mixed",
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        seed=seed,
    )
    if objective == "neighbors":
        labeling = objectives.neighbor_labeling(
            bank, options, sizes=sizes, batch_size=recipe.batch_size
        )
    else:
        iterations = objectives.PrototypeOptions(
            _LARGE_BATCH,
            _HIDDEN_DIM,
            batch_size=recipe.batch_size,
            variant=SelfVariant(sizes=sizes),
        )
        labeling = objectives.prototype_labeling(bank, options, iterations)
    labeling.model.fit(
        labeling.batches(0),
        epochs=options.epochs,
        steps_per_epoch=labeling.steps_per_epoch,
        verbose=0,
        shuffle=False,
    )
    logits = head_logits(labeling.model.classifier, bank.features)
    losses = labeling.losses(logits)
    clusters = logits.argmax(axis=2)
    scores = -losses if labeling.scores is None else labeling.scores(clusters, losses)
    chosen = int(scores.argmax())
    return {
        "c": clusters.astype(np.uint8),
        "j": np.array(chosen),
        "p": softmax(logits[chosen]).astype(np.float16),
        "nb": bank.neighbors,
        "z": bank.normalized.astype(np.float16),
        "K": np.array(num_clusters),
    }


def guided_clustered(
    features: np.ndarray, num_clusters: int, sizes: Sizes, seed: int
) -> dict[str, np.ndarray]:
    """Cluster features as a run does whose words guide, with one head.

    Args:
        features: Of efficientnet_lite0, [N, D].
        num_clusters: K.
        sizes: Not read: words guide even and uneven clusters with the same weight.
        seed: Seed of the batches.

    Returns:
        Clusters `c` [1, N] of the head `j` and its probabilities `p` [N, K], those of the `words`,
        `labels` [N, K] of the words, the `fit` of the vocabulary, and `nb`, `z`, `K` as
        `clustered` has them.
    """
    guide = word_guide(classifier_vocabulary(LITE0), features, num_clusters)
    rows = fitted_space(features).unit_rows(features)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, np.inf)
    half = max(1, len(rows) // (2 * num_clusters))
    near = np.argsort(-cosines, axis=1, kind="stable")[:, : max(2, min(50, half))]
    kernel, bias = guided_head(rows, near[:, 1 : 1 + min(10, half)], guide, seed)
    said = softmax(rows @ kernel + bias)
    return {
        "c": said.argmax(axis=1).astype(np.uint8)[np.newaxis],
        "j": np.array(0),
        "p": said.astype(np.float16),
        "words": guide.clusters,
        "labels": guide.labels.astype(np.float16),
        "fit": np.array(guide.fit),
        "nb": near,
        "z": rows.astype(np.float16),
        "K": np.array(num_clusters),
    }


def guided_head(
    rows: np.ndarray, near: np.ndarray, guide: WordGuide, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train a linear head on neighbours and on the words' probabilities, by Adam.

    Args:
        rows: Unit rows. Shape: (N, D).
        near: Neighbours of each, itself not among them. Shape: (N, n).
        guide: The words.
        seed: Seed of the batches.

    Returns:
        Kernel [D, K] and bias [K] on unit rows.
    """
    (count, dim), clusters = rows.shape, guide.labels.shape[1]
    recipe = head_training("neighbors", count, clusters)
    x = rows * np.float32(np.sqrt(dim))
    members = np.eye(clusters, dtype=np.float32)[guide.clusters]
    centers = l2_normalized(members.T @ rows)
    low, high = 0.0, 1e4
    for _ in range(40):
        scale = (low + high) / 2
        sure = softmax(scale * (rows @ centers.T)).max(axis=1).mean()
        low, high = (low, scale) if sure > _SURE_AT_START else (scale, high)
    weights = np.concatenate([scale / np.sqrt(dim) * centers.T, np.zeros((1, clusters))])
    weights = weights.astype(np.float32)
    x = np.concatenate([x, np.ones((count, 1), np.float32)], axis=1)
    generator, step = np.random.default_rng(seed), 0
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    size = min(recipe.batch_size, count)
    for _ in range(recipe.epochs):
        order = generator.permutation(count)
        for start in range(0, count - size + 1, size):
            anchors = order[start : start + size]
            partners = near[anchors, generator.integers(near.shape[1], size=size)]
            gradient = _gradient(x[anchors], x[partners], guide.labels[anchors], weights)
            step += 1
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            moved = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7)
            weights = weights - np.float32(recipe.learning_rate) * moved
    return weights[:-1] * np.float32(np.sqrt(dim)), weights[-1]


def _gradient(
    anchors: np.ndarray, partners: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Of -mean ln<p, q> - .3 H(mean p) + mean CE(label, p) by the weights."""
    p, q = softmax(anchors @ weights), softmax(partners @ weights)
    size = np.float32(len(p))
    products = np.maximum((p * q).sum(axis=1, keepdims=True), 1e-12)
    by_p, by_q = -q / products, -p / products
    by_p = by_p + ENTROPY_WEIGHTS["uneven"][0] * (np.log(p.mean(axis=0)) + 1.0)
    by_z = p * (by_p - (by_p * p).sum(axis=1, keepdims=True)) + (p - labels)
    by_other = q * (by_q - (by_q * q).sum(axis=1, keepdims=True))
    return np.asarray((anchors.T @ by_z + partners.T @ by_other) / size)


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def fit(folder: Path, out: Path) -> None:
    """Fit the mapping on the clusterings in FOLDER and write OUT."""
    found = measured(folder)
    acc, names = found.acc, found.names
    low, high, rank, held = left_out(found.figures, acc, names, fit_mean_mapping)
    error = 1.0 / (1.0 + np.exp(-rank)) - acc
    groups = {name: names == name for name in sorted(set(names))}
    fewer, more = found.ratios < 1.0, found.ratios > 1.0
    groups |= {"as many": ~fewer & ~more, "more": more, "fewer": fewer}
    groups["all"] = np.ones(len(acc), bool)
    for name, own in groups.items():
        if not own.any():
            continue
        click.echo(
            f"{name:<12} {own.sum():>4} clusterings, rank correlation "
            f"{rank_correlation(rank[own], acc[own]):.2f}, mean error "
            f"{np.abs(error[own]).mean():.3f}, too high by {error[own].mean():.3f}, in the range "
            f"{held[own].mean():.2f}"
        )
    facts = {
        "clusterings": len(acc),
        "sets": sorted(set(names.tolist())),
        "rank_correlation": round(rank_correlation(rank, acc), 3),
        "mean_error": round(float(np.abs(error).mean()), 3),
        "in_range": round(float(held.mean()), 3),
        "too_high_with_fewer_clusters": round(float(error[fewer].mean()), 3)
        if fewer.any()
        else 0.0,
    }
    mapping = fit_mean_mapping(found.figures, acc) | {"residuals": [low, high]}
    pure = fit_mean_mapping(found.figures, found.pure)
    write_json(out, {"acc": mapping, "purity": pure, "left_out": facts})


@main.command("fit-guided")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def fit_guided(folder: Path, out: Path) -> None:
    """Fit the mapping of guided clusterings in FOLDER and write OUT."""
    rows, acc, names, fits = [], [], [], []
    for found, clusters in clusterings(folder):
        unit = found["z"].astype(np.float32)
        rows.append(guided_figures(clusters, int(found["K"]), found["nb"][:, 1:], unit))
        acc.append(clustering_accuracy(found["y"], clusters))
        # Other classes of one data set are no other data set: tiny, tinyb.
        names.append("tiny" if str(found["name"]).startswith("tiny") else str(found["name"]))
        fits.append(float(found["fit"]))
    figures, truth, sets = np.stack(rows), np.array(acc), np.array(names)
    low, high, rank, held = left_out(figures, truth, sets, fit_mapping)
    reached = log_odds(truth) >= rank + low
    known = np.array([vocabulary_guides(one) for one in fits])
    groups = {one: sets == one for one in sorted(set(names))}
    groups |= {"all": np.ones(len(truth), bool), "words know them": known}
    for name, own in groups.items():
        if not own.any():
            continue
        click.echo(
            f"{name:<16} {own.sum():>4} clusterings, rank correlation "
            f"{rank_correlation(rank[own], truth[own]):.2f}, in the range {held[own].mean():.2f}, "
            f"lower end reached {reached[own].mean():.2f}"
        )
    facts = {
        "clusterings": len(truth),
        "sets": sorted(set(names)),
        "rank_correlation": round(rank_correlation(rank, truth), 3),
        "reached": round(float(reached.mean()), 3),
    }
    write_json(
        out, {"acc": fit_mapping(figures, truth) | {"residuals": [low, high]}, "left_out": facts}
    )


def clusterings(folder: Path) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Read clusterings that use two clusters at least: all arrays, and the chosen clusters."""
    for path in sorted(folder.glob("*.npz"), key=lambda path: int(path.stem)):
        with np.load(path) as archive:
            found = dict(archive)
        clusters = found["c"][int(found["j"])].astype(np.int64)
        if len(np.unique(clusters)) >= 2:
            yield found, clusters


def judged_of(found: dict[str, np.ndarray], clusters: np.ndarray) -> Judged:
    """Gather what figures without labels are worked out of."""
    return Judged(
        clusters=clusters,
        num_clusters=int(found["K"]),
        rows=found["z"].astype(np.float32),
        neighbors=found["nb"],
        others=np.delete(found["c"].astype(np.int64), int(found["j"]), axis=0),
    )


class Measured(NamedTuple):
    """Clusterings: figures [C, F], ACC [C], purity [C], data sets [C], clusters a class [C]."""

    figures: np.ndarray
    acc: np.ndarray
    pure: np.ndarray
    names: np.ndarray
    ratios: np.ndarray


def measured(folder: Path) -> Measured:
    """Read clusterings: their figures without labels, and what the labels say."""
    rows, acc, pure, names, ratios = [], [], [], [], []
    for found, clusters in clusterings(folder):
        rows.append(trust_figures(judged_of(found, clusters)).as_row())
        acc.append(clustering_accuracy(found["y"], clusters))
        pure.append(purity(found["y"], clusters))
        names.append(str(found["name"]))
        ratios.append(int(found["K"]) / len(np.unique(found["y"])))
    return Measured(*map(np.array, (rows, acc, pure, names, ratios)))


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
def reliability(folder: Path) -> None:
    """Say how often items of a confidence are in the largest class of their cluster.

    Purity is foretold by a mapping fitted on the other data sets of FOLDER.
    """
    known = measured(folder)
    names = known.names
    _, _, rank, _ = left_out(known.figures, known.pure, names, fit_mean_mapping)
    shares = 1.0 / (1.0 + np.exp(-rank))
    items = [
        calibrated_items(found, clusters, float(share))
        for (found, clusters), share in zip(clusterings(folder), shares, strict=True)
    ]
    echo_reliability(items, names)


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
def judge(folder: Path) -> None:
    """Say how well the shipped mapping does on clusterings that it was not fitted on."""
    truth, expected, names, items = [], [], [], []
    for found, clusters in clusterings(folder):
        wanted, heads = int(found["K"]), len(found["c"])
        if not applies(len(clusters), wanted, len(np.unique(clusters)), heads):
            continue
        one = expected_accuracy(trust_figures(judged_of(found, clusters)))
        acc = clustering_accuracy(found["y"], clusters)
        truth.append(acc)
        expected.append((one.acc, one.low <= acc <= one.high))
        names.append(str(found["name"]))
        items.append(calibrated_items(found, clusters, one.purity))
    value, held = np.array(expected).T
    every, error = np.array(names), value - np.array(truth)
    for name in (*sorted(set(names)), "all"):
        own = (every == name) | (name == "all")
        click.echo(
            f"{name}: {own.sum()} clusterings, rank correlation "
            f"{rank_correlation(value[own], np.array(truth)[own]):.2f}, mean error "
            f"{np.abs(error[own]).mean():.3f}, too high by {error[own].mean():.3f}, "
            f"range held {held[own].mean():.2f}"
        )
    echo_reliability(items, every)


def calibrated_items(
    found: dict[str, np.ndarray], clusters: np.ndarray, purity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Temper one clustering: the confidence of its items, and whether each is where most are."""
    before = found["p"].astype(np.float32)
    said = tempered(before, temperature_for(before, cautious(purity))).max(axis=1)
    table = np.zeros((int(found["K"]), int(found["y"].max()) + 1))
    np.add.at(table, (clusters, found["y"]), 1)
    return said, table.argmax(axis=1)[clusters] == found["y"]


def echo_reliability(items: list[tuple[np.ndarray, np.ndarray]], names: np.ndarray) -> None:
    """Say how often items of a confidence are in the largest class of their cluster."""
    confidence, correct = (np.concatenate(part) for part in zip(*items, strict=True))
    every = np.repeat(names, [len(said) for said, _ in items])
    for low, high in itertools.pairwise(_BINS):
        own = (low <= confidence) & (confidence < high)
        if not own.any():
            continue
        by_set = (
            f"{one} {correct[own & (every == one)].mean():.3f}" for one in sorted({*every[own]})
        )
        click.echo(
            f"{low:.2f}-{min(high, 1.0):.2f}: said {confidence[own].mean():.3f}, right "
            f"{correct[own].mean():.3f} of {own.sum()}; {', '.join(by_set)}"
        )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation; NaN if one of the two is the same everywhere."""
    if np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return float("nan")
    return float(spearmanr(first, second)[0])


def left_out(
    figures: np.ndarray, truth: np.ndarray, names: np.ndarray, fit: Fit
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Judge the mapping on each data set when it is fitted on the others.

    Returns:
        Ends of the range of the residuals of left-out sets, the fitted log-odds of all clusterings,
        and whether each lies in the range of the other sets' residuals.
    """
    fitted = np.empty(len(truth))
    for name in set(names):
        own = names == name
        found = fit(figures[~own], truth[~own])
        fitted[own] = foretold(figures[own], found)
    residuals = log_odds(truth) - fitted
    held = np.empty(len(truth), bool)
    for name in set(names):
        own = names == name
        low, high = np.quantile(residuals[~own], _RANGE)
        held[own] = (low <= residuals[own]) & (residuals[own] <= high)
    low, high = np.quantile(residuals, _RANGE)
    return float(low), float(high), fitted, held


if __name__ == "__main__":
    main()

"""The clustering a run ends in, and the table of assignments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spice_keras.algorithm.local_consistency import local_consistency
from spice_keras.errors import UserError
from spice_keras.files import write_csv
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Classifier, Clustering, Decisions, Export, Heads, Names, Reliable


@dataclass(frozen=True)
class FinalResult(Clustering):
    """What the last training stage says of every image.

    Attributes:
        embeddings: float32 [N, D] on the unit sphere, of the network that says it.
        reliable: bool [N], among the reliable labels of SPICE-Self; of test images, whether they
            pass the thresholds of these.
        agrees: bool [N], whether most of its neighbours are in the same cluster.
    """

    embeddings: np.ndarray
    reliable: np.ndarray
    agrees: np.ndarray


def network_clustering(context: Context) -> Clustering:
    """Return what the last network says, SPICE-Semi's or SPICE-Self's, before a person's word."""
    return context.load(Classifier) if context.config.semi.enabled else context.load(Heads)


def final_result(context: Context) -> FinalResult:
    """Return the last network's clustering, with what a person decided in its place."""
    bank, probabilities = context.bank, network_clustering(context).probabilities
    embeddings = bank.normalized
    if context.config.semi.enabled:
        embeddings = context.load(Classifier).embeddings
    if context.run.has(Decisions.name):
        probabilities = _decided(probabilities, context.load(Decisions).clusters)
    clusters = probabilities.argmax(axis=1)
    reliable = np.zeros(len(clusters), bool)
    reliable[context.load(Reliable).indices] = True
    agrees = local_consistency(clusters, bank.neighbors) > 0.5
    return FinalResult(probabilities, embeddings, reliable, agrees)


def _decided(probabilities: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Probabilities in which a person's placements are certain."""
    rows = np.flatnonzero(clusters >= 0)
    decided = np.array(probabilities)
    decided[rows] = 0.0
    decided[rows, clusters[rows]] = 1.0
    return decided


def write_assignments(
    results: Sequence[tuple[Context, FinalResult]], duplicates: Sequence[np.ndarray]
) -> None:
    """Write assignments.csv: one row an image, in the order of the source, part by part.

    Args:
        results: What is reported, and its clustering. If the data has parts, the last column
            names each image's.
        duplicates: For each of them the group of near-duplicates of each image, -1 for none.
    """
    context = results[0][0]
    header = ["image", "cluster", "confidence", "reliable", "agrees_with_neighbors", "cluster_name"]
    header += ["second_cluster", "second_probability", "distance", "duplicate_group"]
    if context.run.has(Decisions.name):
        header.append("decision")
    if context.has_parts:
        header.append("part")
    names = context.load(Names).texts
    rows: list[tuple[str | int, ...]] = []
    before = 0
    for (part, result), groups in zip(results, duplicates, strict=True):
        rows += _rows(part, result, names, np.where(groups >= 0, groups + before, -1))
        before += int(groups.max(initial=-1)) + 1
    write_csv(context.run.path / "assignments.csv", header, rows)


def _second_choices(probabilities: np.ndarray) -> tuple[list[int], list[str]]:
    """The cluster each item would be in otherwise, and its probability."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, 1]
    share = np.take_along_axis(probabilities, order[:, None], axis=1)[:, 0]
    return order.tolist(), [f"{value:.6f}" for value in share]


def center_distances(embeddings: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the cosine distance of each item from the mean direction of its cluster.

    Args:
        embeddings: Of unit length. Shape: (num_samples, dim).
        clusters: Cluster of each, from 0. Shape: (num_samples,).

    Returns:
        float64, from 0 to 2. Shape: (num_samples,).
    """
    distances = np.empty(len(embeddings))
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        rows = np.asarray(embeddings[members], np.float64)
        center = rows.sum(axis=0)
        distances[members] = 1.0 - rows @ (center / max(float(np.linalg.norm(center)), 1e-12))
    return distances


def _rows(
    context: Context, result: FinalResult, names: Sequence[str], duplicates: np.ndarray
) -> Iterator[tuple[str | int, ...]]:
    columns: list[Sequence[str | int]] = [
        list(context.ids),
        result.clusters.tolist(),
        [f"{value:.6f}" for value in result.confidence],
        result.reliable.astype(int).tolist(),
        result.agrees.astype(int).tolist(),
        [names[cluster] for cluster in result.clusters],
        *_second_choices(result.probabilities),
        [f"{value:.6f}" for value in center_distances(result.embeddings, result.clusters)],
        ["" if group < 0 else group for group in duplicates.tolist()],
    ]
    if context.run.has(Decisions.name):
        columns.append(context.load(Decisions).words)
    if context.has_parts:
        columns.append([role for role, rows in context.parts.items() for _ in context.ids[rows]])
    return zip(*columns, strict=True)


def exported_model(path: Path) -> Path:
    """Return the SavedModel that a run was exported to.

    Args:
        path: The run directory.

    Returns:
        The SavedModel's folder.

    Raises:
        UserError: If the run has none, or it is gone.
    """
    run = RunDirectory(path)
    again = f"run `spice export {path}`"
    if not run.has(Export.name):
        raise UserError(f"The run {path} has no SavedModel yet: {again} first.")
    found = Export.load(run.read(Export.name, written_by=Export.command)).path
    if not (found / "saved_model.pb").is_file():
        raise UserError(
            f"The SavedModel {found} of the run {path} is gone: {again}, or name another place."
        )
    return found

"""The clustering a run ends in, and the table of assignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spice_keras.algorithm.local_consistency import local_consistency
from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.damage import ASSIGNMENTS
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Classifier, Clustering, Decisions, Export, Heads, Names, Reliable
from spice_keras.run.table import Column, write_table
from spice_keras.scratch import gathered, row_blocks

_ROWS = 2**14


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
    if context.run.has(Decisions.name) and context.train_part is None:
        probabilities = _decided(probabilities, context.load(Decisions).clusters)
    clusters = Clustering(probabilities).clusters
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
    """Write the assignments: one row an image, in the order of the source, part by part.

    `assignments.csv` is always written, and `assignments.parquet` beside it if
    `evaluate.table` asks for it.

    Args:
        results: What is reported, and its clustering. If the data has parts, the last column
            names each image's.
        duplicates: For each of them the group of near-duplicates of each image, -1 for none.
    """
    context = results[0][0]
    names = np.array(context.load(Names).texts, object)
    parts: list[dict[str, Column]] = []
    before = 0
    for (part, result), groups in zip(results, duplicates, strict=True):
        parts.append(_columns(part, result, names, np.where(groups >= 0, groups + before, -1)))
        before += int(groups.max(initial=-1)) + 1
    table = {name: np.ma.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns = {name: column if column.mask.any() else column.data for name, column in table.items()}
    parquet = context.run.path / ASSIGNMENTS["parquet"]
    write_table(context.run.path / ASSIGNMENTS["csv"], columns, "csv")
    if context.config.evaluate.table == "parquet":
        write_table(parquet, columns, "parquet")
    else:
        parquet.unlink(missing_ok=True)  # of an earlier evaluation


def _second_choices(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cluster each item would be in otherwise, and its probability."""
    second = np.empty(len(probabilities), np.int64)
    share = np.empty(len(probabilities), probabilities.dtype)
    for rows in row_blocks(probabilities, _ROWS):
        block = probabilities[rows]
        second[rows] = np.argsort(-block, axis=1, kind="stable")[:, 1]
        share[rows] = block[np.arange(len(block)), second[rows]]
    return second, share


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
        parts = [members[start : start + _ROWS] for start in range(0, len(members), _ROWS)]
        center = np.zeros(embeddings.shape[1])
        for part in parts:
            center += gathered(embeddings, part).astype(np.float64).sum(axis=0)
        direction = center / max(float(np.linalg.norm(center)), 1e-12)
        for part in parts:
            distances[part] = 1.0 - gathered(embeddings, part).astype(np.float64) @ direction
    return distances


def _columns(
    context: Context, result: FinalResult, names: np.ndarray, duplicates: np.ndarray
) -> dict[str, Column]:
    second, share = _second_choices(result.probabilities)
    columns: dict[str, Column] = {
        "image": np.array(context.ids, object),
        "cluster": result.clusters,
        "confidence": result.confidence,
        "reliable": result.reliable,
        "agrees_with_neighbors": result.agrees,
        "cluster_name": names[result.clusters],
        "second_cluster": second,
        "second_probability": share,
        "distance": center_distances(result.embeddings, result.clusters),
        "duplicate_group": np.ma.masked_less(duplicates, 0),
    }
    if context.run.has(Decisions.name):
        columns["decision"] = _decisions(context)
    if context.has_parts:
        roles = [role for role, rows in context.parts.items() for _ in context.ids[rows]]
        columns["part"] = np.array(roles, object)
    return columns


def _decisions(context: Context) -> Column:
    """What a person decided about each item; nothing about test images that no stage saw."""
    if context.train_part is not None:
        return np.full(len(context.ids), "", object)
    return np.array(context.load(Decisions).words, object)


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

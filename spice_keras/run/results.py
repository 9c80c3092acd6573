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
from spice_keras.run.store import Classifier, Clustering, Export, Heads, Names, Reliable


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


def final_result(context: Context) -> FinalResult:
    """Return SPICE-Semi's clustering, or SPICE-Self's if Semi is switched off."""
    bank = context.bank
    if context.config.semi.enabled:
        semi = context.load(Classifier)
        probabilities, embeddings = semi.probabilities, semi.embeddings
    else:
        probabilities, embeddings = context.load(Heads).probabilities, bank.normalized
    clusters = probabilities.argmax(axis=1)
    reliable = np.zeros(len(clusters), bool)
    reliable[context.load(Reliable).indices] = True
    agrees = local_consistency(clusters, bank.neighbors) > 0.5
    return FinalResult(probabilities, embeddings, reliable, agrees)


def write_assignments(results: Sequence[tuple[Context, FinalResult]]) -> None:
    """Write assignments.csv: one row an image, in the order of the source, part by part.

    Args:
        results: What is reported, and its clustering. If the data has parts, the last column
            names each image's.
    """
    context = results[0][0]
    header = ["image", "cluster", "confidence", "reliable", "agrees_with_neighbors", "cluster_name"]
    if context.has_parts:
        header.append("part")
    names = context.load(Names).texts
    rows = (row for part, result in results for row in _rows(part, result, names))
    write_csv(context.run.path / "assignments.csv", header, rows)


def _rows(
    context: Context, result: FinalResult, names: Sequence[str]
) -> Iterator[tuple[str | int, ...]]:
    columns: list[Sequence[str | int]] = [
        context.ids,
        result.clusters.tolist(),
        [f"{value:.6f}" for value in result.confidence],
        result.reliable.astype(int).tolist(),
        result.agrees.astype(int).tolist(),
        [names[cluster] for cluster in result.clusters],
    ]
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

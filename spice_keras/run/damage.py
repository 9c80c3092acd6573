"""What of a run is damaged, and what would show that it was made again as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spice_keras.files import sha256
from spice_keras.options import TableFormat
from spice_keras.run.configuration import read_run_config
from spice_keras.run.directory import READS, Damaged, RunDirectory


@dataclass(frozen=True)
class Damage:
    """An artifact that has to be made again.

    Attributes:
        artifact: Its name.
        reason: What is wrong, the beginning of a sentence.
        known: Digests it had: its own manifest's, and those that artifacts made from it noted. If
            it comes out as one of these, they stay.
    """

    artifact: str
    reason: str
    known: frozenset[str]


ASSIGNMENTS: dict[TableFormat, str] = {
    "csv": "assignments.csv",
    "parquet": "assignments.parquet",
}
"""The table of items in each format; the second is written if it is asked for."""

PUBLISHED = (
    "report.html",
    "metrics.json",
    ASSIGNMENTS["csv"],
    "duplicates.csv",
    "outliers.csv",
)
"""What evaluation leaves beside its artifact, in the run directory itself."""


def dependents(artifact: str) -> frozenset[str]:
    """Return the names of all artifacts that are made from one, directly or not."""
    found = {name for name, read in READS.items() if artifact in read}
    return frozenset(found.union(*(dependents(name) for name in found)))


def find_damage(run: RunDirectory, artifacts: Sequence[str]) -> list[Damage]:
    """Check artifacts: every file's checksum, what is missing, and what belongs to another run.

    Args:
        run: The run directory.
        artifacts: Their names, in the order they are made.

    Returns:
        Those that have to be made again, in this order.

    Raises:
        UserError: If one was written by a newer version.
    """
    sources = {name: run.made_from(name) for name in READS if run.has(name)}
    found = []
    for artifact in artifacts:
        known = {read[artifact] for read in sources.values() if artifact in read}
        own = run.digest(artifact)
        reason = _reason(run, artifact, sources.get(artifact), is_missed=bool(known))
        if reason is not None:
            found.append(Damage(artifact, reason, frozenset(known | ({own} if own else set()))))
    return found


def _reason(
    run: RunDirectory, artifact: str, made_from: dict[str, str] | None, *, is_missed: bool
) -> str | None:
    """What is wrong with an artifact; None if nothing is."""
    if made_from is None:
        if not is_missed:
            return None
        return f"The manifest of the artifact {artifact} is missing in {run.path}"
    try:
        folder = run.read(artifact, written_by="")
    except Damaged as error:
        return error.reason
    if artifact == "export" and (folder / "export.json").is_file():
        return _export_problem(folder / "export.json")
    if artifact == "evaluation" and (folder / "metrics.json").is_file():
        table = read_run_config(run.path).evaluate.table
        wanted = dict.fromkeys((*PUBLISHED, ASSIGNMENTS[table]))
        gone = [name for name in wanted if not (run.path / name).is_file()]
        return f"{', '.join(gone)} missing in {run.path}" if gone else None
    for source, digest in made_from.items():
        if run.digest(source) not in (None, digest):
            return f"{artifact} in {run.path} was made from another {source} than lies there"
    return None


def _export_problem(file: Path) -> str | None:
    """What is wrong with the SavedModel that was exported; None if nothing is."""
    facts = json.loads(file.read_text("utf-8"))
    path = Path(facts["path"])
    if not path.is_dir():
        return f"The SavedModel {path} is not there"
    for name, found in facts.get("files", {}).items():  # an older version noted none
        file = path / name
        if not file.is_file() or file.stat().st_size != found["bytes"]:
            return f"{file} is missing or cut short"
        if sha256(file) != found["sha256"]:
            return f"{file} does not match its checksum"
    return None

"""The run directory: what each stage leaves behind, and reading it back.

An artifact is a folder with a manifest: schema version, the stage that wrote it, and size and
SHA-256 of every file. It is written under another name and moved into place when complete, so
that a reader finds a whole artifact or none. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spice_keras.errors import UserError
from spice_keras.files import (
    atomic_folder,
    finite,
    link_or_copy,
    sha256,
    write_atomically,
    write_json,
)

SCHEMA_VERSION = 1


_MANIFEST = "manifest.json"

_Stamp = tuple[tuple[str, int, int, int], ...]
# Artifacts whose checksums this process has compared, with what tells a change since then.
_verified: dict[Path, _Stamp] = {}


def _stamp(folder: Path) -> _Stamp:
    """Names, inodes, sizes and times of an artifact's files: another one after any change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((str(f), (s := f.stat()).st_ino, s.st_size, s.st_mtime_ns) for f in files)


class RunDirectory:
    """One run on disk.

    Args:
        path: The folder; `open` or `create` check what lies there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> RunDirectory:
        """Start a run: make the folder and write the resolved configuration.

        Raises:
            UserError: If the folder holds something else, or is not writable.
        """
        if path.exists() and not path.is_dir():
            raise UserError(f"The run directory {path} is a file; name a folder with --run-dir.")
        if path.is_dir() and any(path.iterdir()):
            raise UserError(
                f"The folder {path} is not empty and holds no run; name another with --run-dir."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
            write_atomically(path / "config.yaml", text.encode())
        except OSError as error:
            raise UserError(
                f"The run directory {path} cannot be written: {error.strerror or error}. "
                "Name another with --run-dir."
            ) from error
        return cls(path)

    @staticmethod
    def holds_run(path: Path) -> bool:
        """Tell whether a run was started in this folder."""
        return (path / "config.yaml").is_file()

    @property
    def checkpoints(self) -> Path:
        """Where interrupted stages continue from."""
        return self.path / "checkpoints"

    def _folder(self, name: str) -> Path:
        return self.path / "artifacts" / name

    def has(self, name: str) -> bool:
        """Tell whether an artifact is complete."""
        return (self._folder(name) / _MANIFEST).is_file()

    @contextlib.contextmanager
    def write(self, name: str, *, stage: str) -> Iterator[Path]:
        """Write an artifact: fill the folder this yields; it appears whole, or not at all.

        Args:
            name: The artifact.
            stage: The stage that writes it.

        Yields:
            An empty folder that becomes the artifact when the block ends without an error.
        """
        with atomic_folder(self._folder(name)) as folder:
            yield folder
            files = {
                str(path.relative_to(folder)): {
                    "bytes": path.stat().st_size,
                    "sha256": sha256(path),
                }
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            manifest = {"artifact": name, "schema": SCHEMA_VERSION, "stage": stage, "files": files}
            write_json(folder / _MANIFEST, manifest)

    def read(self, name: str, *, written_by: str) -> Path:
        """Return the folder of an artifact after checking it.

        Args:
            name: The artifact.
            written_by: The command that writes it, for the error.

        Raises:
            UserError: If it is missing, damaged, or of another schema.
        """
        folder = self._folder(name)
        again = f"run `spice {written_by} --run-dir {self.path}`"
        if not self.has(name):
            raise UserError(f"{self.path} holds no {name} yet: {again} first.")
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            schema, files = manifest["schema"], manifest["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"The manifest of {folder} is damaged: {again} again.") from error
        if schema != SCHEMA_VERSION:
            raise UserError(
                f"{folder} was written with schema {schema}, this version reads "
                f"{SCHEMA_VERSION}: {again} in a new run directory."
            )
        place, stamp = folder.resolve(), _stamp(folder)
        if _verified.get(place) == stamp:
            return folder
        for file, facts in files.items():
            path = folder / file
            if not path.is_file() or path.stat().st_size != facts["bytes"]:
                raise UserError(f"{path} is missing or cut short: {again} again.")
            if sha256(path) != facts["sha256"]:
                raise UserError(f"{path} does not match its checksum: {again} again.")
        _verified[place] = stamp
        return folder

    def adopt(self, name: str, source: RunDirectory) -> None:
        """Take over an artifact of another run, hard-linked if the disk allows it.

        Artifacts are replaced whole and never changed, so that two runs can share one's files.
        Nothing happens if there is one of this name, or the other run has none.
        """
        if self.has(name) or not source.has(name):
            return
        with atomic_folder(self._folder(name)) as folder:
            shutil.copytree(
                source._folder(name), folder, copy_function=link_or_copy, dirs_exist_ok=True
            )

    def discard(self, name: str) -> None:
        """Remove an artifact, if it is there."""
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one JSON line to metrics.jsonl."""
        line = json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """Return the rows of one stage, in order; a line cut by a crash is left out."""
        return [row for row in self._metric_rows() if row.get("stage") == stage]

    def _metric_rows(self) -> list[dict[str, Any]]:
        path = self.path / "metrics.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def forget_metrics(self, stage: str, *, from_epoch: int) -> None:
        """Drop a stage's rows from an epoch on: the stage continues before them."""
        kept = [
            row
            for row in self._metric_rows()
            if row.get("stage") != stage or row["epoch"] < from_epoch
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        write_atomically(self.path / "metrics.jsonl", text.encode())


_RUNS = Path("runs")


def free_run_dir(name: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, runs/NAME-3 that is not there."""
    folder, number = _RUNS / name, 2
    while folder.exists():
        folder, number = _RUNS / f"{name}-{number}", number + 1
    return folder


def latest_run_dir(name: str | None) -> Path:
    """Return the run directory below runs/ that was begun last, of this name or of any.

    Raises:
        UserError: If there is none.
    """
    found = [
        path
        for path in _RUNS.glob("*/config.yaml")
        if name is None or re.fullmatch(re.escape(name) + r"(-\d+)?", path.parent.name)
    ]
    if not found:
        raise UserError(
            f"There is no run directory {_RUNS}/{name or 'NAME'} to go on with; name one with "
            "--run-dir, or begin with `spice run` or `spice pretrain`."
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def must_hold_run(path: Path) -> None:
    """Refuse a folder in which no run was begun.

    Raises:
        UserError: If there is none; a later stage has nothing to go on with.
    """
    if not RunDirectory.holds_run(path):
        raise UserError(
            f"{path} holds no run to go on with; begin one with `spice run` or `spice pretrain`, "
            "or name another with --run-dir."
        )


def refuse_no_run(path: Path) -> None:
    """Refuse a folder that a command about a finished run was given by mistake.

    Raises:
        UserError: If no run was begun there.
    """
    if not RunDirectory.holds_run(path):
        raise UserError(f"{path} holds no run. Give a folder that `spice run` has made.")

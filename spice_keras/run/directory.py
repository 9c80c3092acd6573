"""The run directory: what each stage leaves behind, and reading it back.

An artifact is a folder with a manifest: schema version, the stage that wrote it, size and SHA-256
of every file, a digest of these, and the digests of the artifacts it was made from. It is written
under another name and moved into place when complete, so that a reader finds a whole artifact or
none. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spice_keras.errors import UserError
from spice_keras.files import (
    atomic_folder,
    file_table,
    finite,
    link_or_copy,
    sha256,
    sweep_folder,
    write_atomically,
    write_json,
)
from spice_keras.run.lock import is_unused

SCHEMA_VERSION = 1


_MANIFEST = "manifest.json"

# What each artifact is made from. The encoder reads the images only if it is trained.
READS: Mapping[str, tuple[str, ...]] = {
    "images": (),
    "encoder": ("images",),
    "embeddings": ("images", "encoder"),
    "heads": ("images", "encoder", "embeddings"),
    "reliable": ("embeddings", "heads"),
    "classifier": ("images", "encoder", "reliable"),
    "test": ("images", "encoder", "heads", "reliable", "classifier"),
    "names": ("embeddings", "heads", "classifier"),
    "evaluation": ("images", "embeddings", "heads", "reliable", "classifier", "test"),
    "export": ("encoder", "heads", "classifier"),
}

_Stamp = tuple[tuple[str, int, int, int], ...]
# Artifacts whose checksums this process has compared, with what tells a change since then.
_verified: dict[Path, _Stamp] = {}


def _stamp(folder: Path) -> _Stamp:
    """Names, inodes, sizes and times of an artifact's files: another one after any change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((str(f), (s := f.stat()).st_ino, s.st_size, s.st_mtime_ns) for f in files)


class Damaged(UserError):
    """An artifact that is not as it was written, or that later ones miss.

    Attributes:
        artifact: Its name.
        reason: What is wrong, in a few words.
    """

    def __init__(self, run: Path, artifact: str, reason: str) -> None:
        super().__init__(f"{reason}: run `spice repair {run}`, which makes it again.")
        self.artifact, self.reason = artifact, reason


def _digest(files: Mapping[str, Any]) -> str:
    """One SHA-256 for the files of an artifact."""
    text = json.dumps(files, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_file_table(files: object) -> bool:
    """Tell whether this is what a manifest says of files."""
    return isinstance(files, dict) and all(
        isinstance(facts, dict)
        and isinstance(facts.get("bytes"), int)
        and isinstance(facts.get("sha256"), str)
        and not Path(name).is_absolute()
        and ".." not in Path(name).parts
        for name, facts in files.items()
    )


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
        if path.is_dir() and not is_unused(path):
            raise UserError(
                f"The folder {path} is not empty and holds no run; name another with --run-dir."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            sweep_folder(path)
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
        self.must_be_there()
        with atomic_folder(self._folder(name)) as folder:
            yield folder
            write_json(folder / _MANIFEST, self._manifest_of(name, stage, folder))

    def _manifest_of(self, name: str, stage: str, folder: Path) -> dict[str, Any]:
        files = file_table(folder, without=_MANIFEST)
        made_from = {other: self.digest(other) for other in READS.get(name, ())}
        return {
            "artifact": name,
            "schema": SCHEMA_VERSION,
            "stage": stage,
            "files": files,
            "digest": _digest(files),
            "made_from": {other: found for other, found in made_from.items() if found},
        }

    def _manifest(self, name: str) -> dict[str, Any]:
        """Read a manifest.

        Raises:
            Damaged: If it is not as it was written.
            UserError: If it has another schema.
        """
        folder = self._folder(name)
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            schema, files = manifest["schema"], manifest["files"]
            made_from = manifest.setdefault("made_from", {})  # older folders have none
            digest = _digest(files) if is_file_table(files) else None
            whole = digest is not None and manifest.setdefault("digest", digest) == digest
            whole = whole and isinstance(made_from, dict) and manifest["artifact"] == name
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole, schema = False, SCHEMA_VERSION
        if isinstance(schema, int) and schema > SCHEMA_VERSION:
            raise UserError(
                f"{folder} was written with schema {schema}, this version reads "
                f"{SCHEMA_VERSION}. Go on with the version that wrote it, or begin a new run in "
                "another folder (--run-dir)."
            )
        if not whole or schema != SCHEMA_VERSION:
            raise Damaged(self.path, name, f"The manifest of {folder} is damaged")
        return dict(manifest)

    def digest(self, name: str) -> str | None:
        """Return one SHA-256 for the files of an artifact, as its manifest states them.

        Args:
            name: The artifact.

        Returns:
            Hexadecimal digits; None if the artifact is missing, or its manifest is damaged.
        """
        with contextlib.suppress(UserError):
            return str(self._manifest(name)["digest"])
        return None

    def made_from(self, name: str) -> dict[str, str]:
        """Return the digests of what an artifact was made from; empty if it does not say."""
        with contextlib.suppress(UserError):
            return dict(self._manifest(name)["made_from"])
        return {}

    def read(self, name: str, *, written_by: str) -> Path:
        """Return the folder of an artifact after checking it.

        Args:
            name: The artifact.
            written_by: The command that writes it, for the error.

        Raises:
            UserError: If it is missing, damaged, or of another schema.
        """
        folder = self._folder(name)
        if not self.has(name):
            raise UserError(
                f"{self.path} holds no {name} yet: run `spice {written_by} --run-dir {self.path} "
                "--resume` first."
            )
        manifest = self._manifest(name)
        place, stamp = folder.resolve(), _stamp(folder)
        if _verified.get(place) == stamp:
            return folder
        for file, facts in manifest["files"].items():
            path = folder / file
            if not path.is_file() or path.stat().st_size != facts["bytes"]:
                raise Damaged(self.path, name, f"{path} is missing or cut short")
            if sha256(path) != facts["sha256"]:
                raise Damaged(self.path, name, f"{path} does not match its checksum")
        _verified[place] = stamp
        return folder

    def mend_manifest(self, name: str, known: Collection[str]) -> bool:
        """Write a damaged manifest again if the files are those of a known digest.

        Args:
            name: The artifact.
            known: Digests that its files have had.

        Returns:
            Whether it is whole now.
        """
        folder = self._folder(name)
        if not folder.is_dir() or _digest(file_table(folder, without=_MANIFEST)) not in known:
            return False
        write_json(folder / _MANIFEST, self._manifest_of(name, name, folder))
        return True

    def must_be_there(self) -> None:
        """Refuse to go on if the folder was moved or deleted under a command.

        Raises:
            UserError: If it is gone; it must not appear again with half a run in it.
        """
        if not self.holds_run(self.path):
            raise UserError(
                f"The run directory {self.path} is no longer there: it was moved or deleted while "
                "this command worked. Put it back, and go on with --resume."
            )

    def sweep(self) -> None:
        """Remove what killed commands left; only for who holds the folder's lock."""
        for folder in (self.path, self.path / "artifacts", self.path / "figures"):
            sweep_folder(folder)
        for stage in self.checkpoints.glob("*"):
            sweep_folder(stage)
            with contextlib.suppress(OSError):
                stage.rmdir()  # if nothing is in it

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

    def timings(self) -> dict[str, float]:
        """Return the seconds of every stage; what is damaged is left out."""
        try:
            found = json.loads((self.path / "timings.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {
            str(stage): float(seconds)
            for stage, seconds in (found.items() if isinstance(found, dict) else ())
            if isinstance(seconds, int | float) and 0 <= seconds < float("inf")
        }

    def add_time(self, stage: str, seconds: float) -> None:
        """Add to the seconds of a stage."""
        times = self.timings()
        times[stage] = round(times.get(stage, 0.0) + seconds, 2)
        self.must_be_there()
        write_json(self.path / "timings.json", times)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one JSON line to metrics.jsonl."""
        line = json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        self.must_be_there()
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """Return the rows of one stage, in order; a line that is cut or damaged is left out."""
        return [row for row in self._metric_rows() if row["stage"] == stage]

    def _metric_rows(self) -> list[dict[str, Any]]:
        path = self.path / "metrics.jsonl"
        rows = []
        for line in path.read_bytes().split(b"\n") if path.is_file() else []:
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line, parse_constant=str)
                if _is_row(row):
                    rows.append(row)
        return rows

    def forget_metrics(self, stage: str, *, from_epoch: int) -> None:
        """Drop a stage's rows from an epoch on: the stage continues before them."""
        kept = [
            row for row in self._metric_rows() if row["stage"] != stage or row["epoch"] < from_epoch
        ]
        self.must_be_there()
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        write_atomically(self.path / "metrics.jsonl", text.encode("utf-8", "replace"))


def _is_row(row: object) -> bool:
    """Whether this is a row of metrics.jsonl: of a stage, and of one of its epochs."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("stage"), str)
        and type(row.get("epoch")) is int
        and row["epoch"] >= 0
    )


_RUNS = Path("runs")


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

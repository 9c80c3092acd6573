"""A folder of shards: what it is made of, which shards are done, and whether they are whole.

    facts.json           what all shards have in common; written first
    shard-000000.npy     the content of a shard, in one file or several
    shard-000000.json    its rows, and size and checksum of its files; written when they are whole,
                         and from then on nobody writes the shard again
    manifest.json        facts and all shards; written when none is missing

Each file takes its name only when it is complete, so that a writer that is killed leaves no part
of a shard. Whoever comes next goes on with the shards that are missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spice_keras.errors import UserError
from spice_keras.files import left_overs, sha256, sweep_folder, write_json

_FACTS, _MANIFEST = "facts.json", "manifest.json"
_NAME = re.compile(r"shard-\d{6,}")


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        name: The stem of its files.
        rows: Items in it.
        files: Size in bytes and SHA-256 of each of its files, by name.
        facts: What else is known of it.
    """

    name: str
    rows: int
    files: Mapping[str, tuple[int, str]]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A folder of shards that is complete.

    Attributes:
        folder: Where it lies.
        facts: What all shards have in common.
        shards: The shards, in order.
    """

    folder: Path
    facts: Mapping[str, Any]
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Items of all shards."""
        return sum(shard.rows for shard in self.shards)

    def verify(self, shard: Shard) -> None:
        """Compare size and checksum of a shard's files with the manifest.

        Args:
            shard: One of `shards`.

        Raises:
            UserError: If a file is missing or another than the one that was written.
        """
        for name, (size, checksum) in shard.files.items():
            path = self.folder / name
            if not path.is_file():
                raise UserError(f"{path} is missing. {_again(self.folder, shard.name)}")
            if path.stat().st_size != size:
                raise UserError(
                    f"{path} has {path.stat().st_size} bytes; {_MANIFEST} says {size}. "
                    f"{_again(self.folder, shard.name)}"
                )
            if sha256(path) != checksum:
                raise UserError(
                    f"{path} does not match its checksum in {_MANIFEST}. "
                    f"{_again(self.folder, shard.name)}"
                )


def _again(folder: Path, shard: str) -> str:
    return (
        f"Delete {folder / _MANIFEST} and {shard}.json, and run the command that wrote the folder "
        "again: it writes this shard alone."
    )


def shard_name(number: int) -> str:
    """Return the stem of a shard's files."""
    return f"shard-{number:06d}"


class ShardFolder:
    """A folder of shards that is being written.

    Args:
        path: The folder; made if it does not exist.
        facts: What all shards have in common, the same for everyone who writes into it. JSON.
        num_shards: How many there will be.

    Raises:
        UserError: If the folder holds something else, or shards of other facts.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], num_shards: int) -> None:
        self.path, self.num_shards = path, num_shards
        self.facts = json.loads(json.dumps(dict(facts)))
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file. Name a folder for the shards.")
        known = path / _FACTS
        if known.is_file():
            self._compare(_read(known))
        elif path.is_dir() and set(path.iterdir()) - set(left_overs(path)):
            raise UserError(f"The folder {path} is not empty and holds no shards. Name another.")
        else:
            write_json(known, self.facts)

    def _compare(self, there: Mapping[str, Any]) -> None:
        other = [
            f"{key}: {there.get(key, 'not set')} there, {self.facts.get(key, 'not set')} now"
            for key in sorted(there.keys() | self.facts.keys())
            if there.get(key) != self.facts.get(key)
        ]
        if other:
            raise UserError(
                f"{self.path} holds shards that were made otherwise ({'; '.join(other)}). Name "
                "another folder, or ask for the same."
            )

    def missing(self, part: tuple[int, int] = (1, 1)) -> list[int]:
        """List the shards that are not written yet.

        Args:
            part: `(i, n)`: of every n shards the i-th alone, i from 1, for one of n machines.

        Returns:
            Their numbers, from 0.
        """
        index, count = part
        return [
            number for number in range(index - 1, self.num_shards, count) if not self.holds(number)
        ]

    def holds(self, number: int) -> bool:
        """Tell whether a shard is written.

        Args:
            number: Of the shard, from 0.
        """
        return (self.path / f"{shard_name(number)}.json").is_file()

    def is_sound(self, number: int) -> bool:
        """Tell whether a shard is written and its files are those that were written.

        Args:
            number: Of the shard, from 0.
        """
        if not self.holds(number):
            return False
        try:
            shard = _shard_of(_read(self.path / f"{shard_name(number)}.json"))
            Manifest(self.path, self.facts, (shard,)).verify(shard)
        except (UserError, KeyError, TypeError, ValueError, AttributeError):
            return False
        return True

    def forget(self, number: int) -> None:
        """Let a shard be written again.

        Args:
            number: Of the shard, from 0.
        """
        (self.path / _MANIFEST).unlink(missing_ok=True)
        (self.path / f"{shard_name(number)}.json").unlink(missing_ok=True)

    def commit(self, number: int, rows: int, files: Sequence[str], **facts: Any) -> None:
        """Note that the files of a shard are whole.

        Args:
            number: Of the shard, from 0.
            rows: Items in it.
            files: Their names in the folder.
            **facts: What else is known of the shard. JSON.
        """
        sizes = {
            name: ((self.path / name).stat().st_size, sha256(self.path / name)) for name in files
        }
        shard = Shard(shard_name(number), rows, sizes, facts)
        write_json(self.path / f"{shard.name}.json", asdict(shard))

    def finish(self) -> Manifest | None:
        """Write the manifest if no shard is missing.

        Returns:
            The manifest; None if shards are missing, those of another machine perhaps.
        """
        if self.missing():
            return None
        shards = [
            _read(self.path / f"{shard_name(number)}.json") for number in range(self.num_shards)
        ]
        write_json(self.path / _MANIFEST, {"facts": self.facts, "shards": shards})
        sweep_folder(self.path)  # all shards are there: what is unfinished belongs to nobody
        return read_manifest(self.path)


def _read(path: Path) -> Any:
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected an object of JSON, received {type(found).__name__}")
        return found
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}). Delete it and write it again."
        ) from error


def _shard_of(facts: Any) -> Shard:
    """Read what a manifest says of a shard; a name that leads out of the folder is none.

    Raises:
        ValueError: If it is not what `ShardFolder` writes; or KeyError, TypeError, AttributeError.
    """
    files = {name: (int(size), str(digest)) for name, (size, digest) in facts["files"].items()}
    shard = Shard(facts["name"], int(facts["rows"]), files, dict(facts["facts"]))
    if not _NAME.fullmatch(shard.name) or shard.rows < 0:
        raise ValueError(f"a shard named {shard.name!r} with {shard.rows} rows")
    if not all(name.startswith(f"{shard.name}.") and "/" not in name for name in files):
        raise ValueError(f"files of the shard {shard.name} with other names: {sorted(files)}")
    return shard


def holds_shards(path: Path) -> bool:
    """Tell whether a folder holds shards, complete or not."""
    return (path / _FACTS).is_file() or (path / _MANIFEST).is_file()


def holds_embeddings(path: Path) -> bool:
    """Tell whether a folder holds shards of embeddings, complete or not."""
    if not holds_shards(path):
        return False
    facts = _read(path / _FACTS) if (path / _FACTS).is_file() else _read(path / _MANIFEST)
    inner = facts.get("facts") if isinstance(facts, dict) else None
    kinds = [part.get("kind") for part in (facts, inner) if isinstance(part, dict)]
    return "embeddings" in kinds


def read_manifest(path: Path) -> Manifest:
    """Read what a folder of shards holds.

    Args:
        path: The folder.

    Returns:
        Its manifest. No shard has been looked at.

    Raises:
        UserError: If the folder is incomplete, or holds no shards.
    """
    if not (path / _MANIFEST).is_file():
        if not (path / _FACTS).is_file():
            raise UserError(f"{path} holds no shards: it has no {_MANIFEST}.")
        done = len(list(path.glob("shard-??????.json")))
        raise UserError(
            f"{path} is incomplete: {done} shards are written, and others are missing. The command "
            "that began it, given once more, writes those."
        )
    found = _read(path / _MANIFEST)
    try:
        shards = tuple(_shard_of(one) for one in found["shards"])
        return Manifest(path, dict(found["facts"]), shards)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path / _MANIFEST} is damaged ({type(error).__name__}: {error}). Delete it and run "
            "the command that wrote the folder again."
        ) from error

"""Embeddings in shards: float16 rows and their ids, read a shard at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spice_keras.errors import UserError
from spice_keras.files import atomic_file, write_json
from spice_keras.scratch import give_back
from spice_keras.shards.folder import Manifest, Shard, ShardFolder, read_manifest, shard_name

KIND = "embeddings"
"""What `facts.json` calls a folder of embeddings."""
_LARGEST = float(np.finfo(np.float16).max)
_SAMPLE_SEED = 0


def write_embeddings(
    folder: ShardFolder,
    number: int,
    ids: Sequence[str],
    rows: np.ndarray,
    skipped: Sequence[tuple[str, str]] = (),
) -> None:
    """Write one shard.

    Args:
        folder: Where.
        number: Of the shard, from 0.
        ids: Of the items, [N].
        rows: Their embeddings, any floats [N, D]. Beyond float16's range they are cut off.
        skipped: Items that gave none, with the reasons.
    """
    name = shard_name(number)
    files = [f"{name}.npy", f"{name}.ids.json"]
    with atomic_file(folder.path / files[0]) as file:
        np.save(file, np.clip(rows, -_LARGEST, _LARGEST).astype(np.float16), allow_pickle=False)
    write_json(folder.path / files[1], list(ids))
    if skipped:
        files.append(f"{name}.skipped.json")
        write_json(folder.path / files[2], list(skipped))
    folder.commit(number, len(ids), files, skipped=len(skipped))


class EmbeddingShards:
    """A complete folder of embeddings in shards.

    Memory: a sample, or a shard; the rows of a shard are memory-mapped.

    Args:
        path: The folder.

    Raises:
        UserError: If it is incomplete, holds something else, or a shard is not what the manifest
            says.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from spice_keras.shards.embeddings import EmbeddingShards, write_embeddings
        >>> from spice_keras.shards.folder import ShardFolder
        >>> with TemporaryDirectory() as path:
        ...     folder = ShardFolder(Path(path), {"kind": "embeddings", "dim": 2}, num_shards=1)
        ...     write_embeddings(folder, 0, ["a", "b", "c"], np.eye(3)[:, :2])
        ...     manifest = folder.finish()
        ...     shards = EmbeddingShards(Path(path))
        ...     len(shards), shards.dim
        (3, 2)
    """

    def __init__(self, path: Path) -> None:
        self.manifest: Manifest = read_manifest(path)
        self.path = path
        facts = self.manifest.facts
        if facts.get("kind") != KIND:
            raise UserError(
                f"{path} holds shards of {facts.get('kind', 'an unknown kind')}, not of "
                "embeddings. `spice embed` makes those."
            )
        try:
            self.dim = int(facts["dim"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{path} does not say how many values an embedding has ({error!r}). Write the "
                "shards again in another folder, with `spice embed`."
            ) from error
        for shard in self.manifest.shards:
            if shard.rows:  # an empty file cannot be mapped
                self._rows(shard)
        if len(self) < 2:
            raise UserError(f"{path} holds {len(self)} embeddings; there must be at least two.")

    def __len__(self) -> int:
        return self.manifest.rows

    def shards(self) -> Iterator[tuple[str, list[str], np.ndarray]]:
        """Yield each shard that has rows: its name, ids, and rows float16 [n, D], memory-mapped.

        Raises:
            UserError: If a shard is damaged.
        """
        for shard in self.manifest.shards:
            if shard.rows:
                self.manifest.verify(shard)
                yield shard.name, self._ids(shard), self._rows(shard)

    def shard(self, number: int) -> tuple[list[str], np.ndarray]:
        """Read one shard.

        Args:
            number: Of the shard, from 0.

        Returns:
            Its ids, and rows float16 [n, D], memory-mapped.

        Raises:
            UserError: If it is damaged.
        """
        shard = self.manifest.shards[number]
        if not shard.rows:
            return [], np.empty((0, self.dim), np.float16)
        self.manifest.verify(shard)
        return self._ids(shard), self._rows(shard)

    def sample(
        self, count: int | None, into: npt.NDArray[np.float32] | None = None
    ) -> tuple[list[str], npt.NDArray[np.float32], str]:
        """Draw some rows, the same at each call.

        Args:
            count: How many; None, or as many as there are, for all.
            into: Where the rows go, perhaps memory-mapped; None for a new array.

        Returns:
            Ids, rows float32 [n, D] in the order of the shards, and the SHA-256 of the whole
            folder's content (of its checksums).

        Raises:
            UserError: If a shard is damaged.
        """
        total = len(self)
        if count is None or count >= total:
            chosen = np.arange(total)
        else:
            drawn = np.random.default_rng(_SAMPLE_SEED).choice(total, count, replace=False)
            chosen = np.sort(drawn)
        ids: list[str] = []
        rows = np.empty((len(chosen), self.dim), np.float32) if into is None else into
        digest, first = hashlib.sha256(), 0
        for shard in self.manifest.shards:
            digest.update(json.dumps(sorted(shard.files.items())).encode())
            inside = slice(*np.searchsorted(chosen, [first, first + shard.rows]))
            if inside.start < inside.stop:
                self.manifest.verify(shard)
                names, local = self._ids(shard), chosen[inside] - first
                ids += [names[row] for row in local]
                rows[inside] = self._rows(shard)[local]
                give_back(rows)
            first += shard.rows
        return ids, rows, digest.hexdigest()

    def _rows(self, shard: Shard) -> np.ndarray:
        """The rows of a shard, memory-mapped; refuses another shape than the manifest's."""
        path = self.path / f"{shard.name}.npy"
        try:
            rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a damaged header raises nearly anything
            raise UserError(
                f"{path} cannot be read ({error}). Delete {shard.name}.json and manifest.json, and "
                "run `spice embed` again."
            ) from error
        expected = (shard.rows, self.dim)
        if rows.shape != expected or rows.dtype != np.float16:
            raise UserError(
                f"{path} must be float16 of the shape {expected}, as manifest.json says. Received: "
                f"{rows.dtype} {rows.shape}. All shards of a folder come from one encoder; put "
                "those of another into a folder of their own."
            )
        return rows

    def _ids(self, shard: Shard) -> list[str]:
        path = self.path / f"{shard.name}.ids.json"
        try:
            ids = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            ids = error
        if not isinstance(ids, list) or len(ids) != shard.rows:
            said = f"has {len(ids)}" if isinstance(ids, list) else f"does not hold ({ids!r:.80})"
            raise UserError(
                f"{path} {said} ids for {shard.rows} rows. Delete {shard.name}.json and "
                "manifest.json, and run `spice embed` again."
            )
        return [str(name) for name in ids]

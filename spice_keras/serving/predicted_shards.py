"""Any number of images or embeddings through an exported model, into tables in shards."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.packing import encoded_source, refuse_changed
from spice_keras.data.sources import SkippedFile, SourceOptions
from spice_keras.errors import UserError
from spice_keras.files import file_table, json_text, write_json
from spice_keras.options import TableFormat
from spice_keras.run.table import refuse_missing_pyarrow
from spice_keras.serving.embedding import image_batches, shard_rows
from spice_keras.serving.predict import Predictions, Predictor
from spice_keras.shards.embeddings import EmbeddingShards
from spice_keras.shards.folder import ShardFolder, read_manifest, shard_name
from spice_keras.shards.writing import Advance, ShardPlan, ShardWriter

_BATCH = 256


@dataclass(frozen=True)
class Tables:
    """What the tables of a folder of predictions look like.

    Attributes:
        table: Parquet or CSV.
        second: Whether the second choice and the doubt are wanted.
        embedding: Whether the embedding is wanted, one column for each of its features.
    """

    table: TableFormat = "parquet"
    second: bool = False
    embedding: bool = False


class PredictionWriter(ShardWriter):
    """Writes what a model says of a source, a table for each shard. Memory is that of one shard.

    Args:
        predictor: The model.
        out: The folder of the tables; made if it does not exist.
        tables: What they look like.
        facts: What the source is, and how it is cut, so that nobody adds shards of another one.
        num_shards: How many tables there will be.

    Raises:
        UserError: If the folder holds something else, the model does not give the columns, or
            pyarrow is missing.
    """

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        tables: Tables,
        facts: dict[str, Any],
        num_shards: int,
    ) -> None:
        if tables.table == "parquet":
            refuse_missing_pyarrow()
        self._predictor, self._tables = predictor, tables
        columns = self._table([], [], []).columns(second=tables.second, embedding=tables.embedding)
        model = hashlib.sha256(json_text(file_table(predictor.model)).encode()).hexdigest()
        everything = {
            "kind": f"predictions, {tables.table}",
            "model": model,
            "columns": list(columns),
            **facts,
        }
        super().__init__(ShardFolder(out, everything, num_shards))

    @abstractmethod
    def _batches(
        self, number: int, skipped: list[tuple[str, str]]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield ids and batches of a shard; items left out go to `skipped`."""

    def _table(
        self,
        ids: list[str],
        said: list[dict[str, np.ndarray]],
        skipped: list[tuple[str, str]],
    ) -> Predictions:
        said = said or [self._predictor.empty()]
        outputs = {key: np.concatenate([part[key] for part in said]) for key in said[0]}
        return Predictions(tuple(ids), outputs, tuple(SkippedFile(*each) for each in skipped))

    def write(self, number: int, advance: Advance) -> None:
        """Write one shard."""
        ids: list[str] = []
        skipped: list[tuple[str, str]] = []
        said: list[dict[str, np.ndarray]] = []
        for names, batch in self._batches(number, skipped):
            ids += names
            said.append(self._predictor(batch))
            advance(len(names))
        advance(len(skipped))
        if self.folder.holds(number):
            return
        wanted = self._tables
        name = f"{shard_name(number)}.{wanted.table}"
        self._table(ids, said, skipped).write(
            self.folder.path / name,
            table=wanted.table,
            second=wanted.second,
            embedding=wanted.embedding,
        )
        files = [name]
        if skipped:
            files.append(f"{shard_name(number)}.skipped.json")
            write_json(self.folder.path / files[1], skipped)
        self.folder.commit(number, len(ids), files, skipped=len(skipped))


class _OfImages(PredictionWriter):
    """Writes what a model of images says of them."""

    def __init__(
        self,
        predictor: Predictor,
        source: EncodedSource,
        out: Path,
        tables: Tables,
        plan: ShardPlan,
    ) -> None:
        source.use_levels(predictor.facts.decoding()["levels"])
        self._source, self._plan = source, plan
        self._signature, rows = source.signature(), plan.rows_per_shard
        facts = {"source": self._signature, "items": len(source), "rows_per_shard": rows}
        super().__init__(predictor, out, tables, facts, math.ceil(len(source) / rows))

    def _batches(
        self, number: int, skipped: list[tuple[str, str]]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        rows = shard_rows(number, self._plan.rows_per_shard, len(self._source))
        yield from image_batches(self._source, rows, skipped, _BATCH)
        self._plan.refuse_too_many(skipped, rows.stop - rows.start)

    def check_source(self) -> None:
        """Refuse images that are not what they were at the beginning."""
        refuse_changed(self._source, self._signature)


class _OfEmbeddings(PredictionWriter):
    """Writes what a model of embeddings says of those in shards, a table for each of them."""

    def __init__(
        self, predictor: Predictor, shards: EmbeddingShards, out: Path, tables: Tables
    ) -> None:
        predictor.refuse_width(shards.dim, shards.path)
        self._shards, self._signature = shards, _content(shards)
        facts = {"source": self._signature, "items": len(shards)}
        super().__init__(predictor, out, tables, facts, len(shards.manifest.shards))

    def _batches(
        self, number: int, skipped: list[tuple[str, str]]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        ids, rows = self._shards.shard(number)
        for start in range(0, len(ids), _BATCH):
            block = slice(start, start + _BATCH)
            yield ids[block], np.asarray(rows[block], np.float32)

    def check_source(self) -> None:
        """Refuse shards of which another manifest was written meanwhile."""
        found = read_manifest(self._shards.path)
        if found != self._shards.manifest:
            raise UserError(
                f"{self._shards.path} changed while it was read: its manifest is another one. Wait "
                "until nothing writes there, and begin again in another folder."
            )


def _content(shards: EmbeddingShards) -> str:
    """A SHA-256 of the checksums of all shards."""
    checksums = [sorted(shard.files.items()) for shard in shards.manifest.shards]
    return hashlib.sha256(json_text(checksums).encode()).hexdigest()


def prediction_writer(
    predictor: Predictor,
    source: tuple[str, Path],
    out: Path,
    *,
    tables: Tables,
    plan: ShardPlan,
) -> PredictionWriter:
    """Open a source for a model, and the folder that its tables go to.

    Args:
        predictor: The model.
        source: Kind of the source, of `spice_keras.options.SOURCES`, and its path: images for a
            model of images, embeddings in shards for one of embeddings.
        out: The folder of the tables; made if it does not exist.
        tables: What they look like.
        plan: How images are cut into shards; embeddings have a table for each of theirs.

    Returns:
        What writes any of the tables.

    Raises:
        UserError: If the source is of the other kind, or cannot be used.
    """
    kind, path = source
    facts = predictor.facts
    if facts.of_embeddings != (kind == "embeddings"):
        takes = (
            "folders of embeddings that `spice embed` wrote" if facts.of_embeddings else "images"
        )
        raise UserError(f"The model {predictor.model} takes {takes}. Received: {path}.")
    if kind == "embeddings":
        return _OfEmbeddings(predictor, EmbeddingShards(path), out, tables)
    options = SourceOptions(
        path=str(path),
        image_size=facts.image_size or 0,
        fit=facts.fit or "crop",
        max_pixels=facts.max_pixels or 0,
    )
    return _OfImages(predictor, encoded_source(kind, options), out, tables, plan)

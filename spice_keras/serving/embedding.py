"""Images of any number through an encoder, into shards of embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.packing import refuse_changed
from spice_keras.data.sources import SkippedFile
from spice_keras.shards.embeddings import KIND, write_embeddings
from spice_keras.shards.folder import Manifest, ShardFolder
from spice_keras.shards.writing import Advance, ShardPlan, ShardWriter, write_shards

_BATCH = 128


class EmbeddingWriter(ShardWriter):
    """Writes the embeddings of a source in shards. Memory is that of one shard.

    Args:
        source: The images.
        encoder: uint8 [B, S, S, 3] to features [B, D].
        out: The folder of the shards; made if it does not exist.
        plan: How the source is cut.
        facts: What the encoder is, so that nobody adds shards of another one. JSON.

    Raises:
        UserError: If the folder holds something else.
    """

    def __init__(
        self,
        source: EncodedSource,
        encoder: keras.Model,
        out: Path,
        plan: ShardPlan,
        facts: dict[str, Any],
    ) -> None:
        self._source, self._encoder, self._plan = source, encoder, plan
        self._signature, self._dim = source.signature(), int(encoder.output_shape[-1])
        everything = {
            "kind": KIND,
            "dim": self._dim,
            "items": len(source),
            "rows_per_shard": plan.rows_per_shard,
            "source": self._signature,
            **facts,
        }
        super().__init__(ShardFolder(out, everything, math.ceil(len(source) / plan.rows_per_shard)))

    def write(self, number: int, advance: Advance) -> None:
        """Write one shard; refuses one of which too many items give no image."""
        rows = shard_rows(number, self._plan.rows_per_shard, len(self._source))
        ids: list[str] = []
        skipped: list[tuple[str, str]] = []
        found = [np.empty((0, self._dim), np.float32)]
        for names, batch in image_batches(self._source, rows, skipped, _BATCH):
            ids += names
            predicted = self._encoder.predict_on_batch(batch)
            found.append(np.asarray(predicted, np.float32)[: len(batch)])
            advance(len(batch))
        self._plan.refuse_too_many(skipped, rows.stop - rows.start)
        advance(len(skipped))
        if not self.folder.holds(number):
            write_embeddings(self.folder, number, ids, np.concatenate(found), skipped)

    def check_source(self) -> None:
        """Refuse a source that is not what it was at the beginning."""
        refuse_changed(self._source, self._signature)


def embed_source(
    source: EncodedSource,
    encoder: keras.Model,
    out: Path,
    *,
    plan: ShardPlan,
    facts: dict[str, Any],
    advance: Advance = lambda _: None,
) -> Manifest | None:
    """Write the embeddings of a source in shards.

    A shard that is written is never written again, so that the same call continues what was
    interrupted, and several machines can share one folder. Memory is that of one shard.

    Args:
        source: The images.
        encoder: uint8 [B, S, S, 3] to features [B, D].
        out: The folder of the shards; made if it does not exist.
        plan: How the source is cut, and what is done here.
        facts: What the encoder is, so that nobody adds shards of another one. JSON.
        advance: Is told how many items were done.

    Returns:
        The manifest; None if other machines' shards are missing.

    Raises:
        UserError: If the folder holds something else, too many items give no image, or the source
            changed meanwhile.
    """
    return write_shards(EmbeddingWriter(source, encoder, out, plan, facts), plan.part, advance)


def shard_rows(number: int, rows_per_shard: int, total: int) -> slice:
    """Return the rows of a source that a shard holds.

    Args:
        number: Of the shard, from 0.
        rows_per_shard: Items of a shard, at least 1.
        total: Items of the source.
    """
    first = number * rows_per_shard
    return slice(first, min(first + rows_per_shard, total))


def image_batches(
    source: EncodedSource, rows: slice, skipped: list[tuple[str, str]], size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Decode some rows of a source, a batch at a time.

    Args:
        source: The images.
        rows: Which of them.
        skipped: Takes the items left out, with the reasons.
        size: Images of a batch.

    Yields:
        Ids, and images uint8 [b, S, S, 3].
    """
    ids: list[str] = []
    images: list[np.ndarray] = []
    for item in source.items(rows):
        if isinstance(item, SkippedFile):
            skipped.append((item.path, item.reason))
            continue
        ids.append(item.id)
        images.append(item.image)
        if len(images) == size:
            yield ids, np.stack(images)
            ids, images = [], []
    if images:
        yield ids, np.stack(images)

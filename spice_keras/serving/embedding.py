"""Images of any number through an encoder, into shards of embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.packing import refuse_changed
from spice_keras.data.sources import SkippedFile
from spice_keras.errors import UserError
from spice_keras.shards.embeddings import KIND, write_embeddings
from spice_keras.shards.folder import Manifest, ShardFolder

_BATCH = 128


@dataclass(frozen=True)
class ShardPlan:
    """How a source is cut into shards, and which of them are written here.

    Attributes:
        rows_per_shard: Items of a shard, those that give no embedding included; at least 1.
        part: `(i, n)`: of every n shards the i-th alone, i from 1: what one of n machines does.
        max_skipped_share: Share of a shard's items, in 0..1, that may give no image.
    """

    rows_per_shard: int = 10_000
    part: tuple[int, int] = (1, 1)
    max_skipped_share: float = 0.2


def embed_source(
    source: EncodedSource,
    encoder: keras.Model,
    out: Path,
    *,
    plan: ShardPlan,
    facts: dict[str, Any],
    advance: Callable[[int], object] = lambda _: None,
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
    signature = source.signature()
    everything = {
        "kind": KIND,
        "dim": int(encoder.output_shape[-1]),
        "items": len(source),
        "rows_per_shard": plan.rows_per_shard,
        "source": signature,
        **facts,
    }
    folder = ShardFolder(out, everything, math.ceil(len(source) / plan.rows_per_shard))
    for number in folder.missing(plan.part):
        first = number * plan.rows_per_shard
        rows = slice(first, min(first + plan.rows_per_shard, len(source)))
        ids: list[str] = []
        skipped: list[tuple[str, str]] = []
        found = [np.empty((0, everything["dim"]), np.float32)]
        for batch in _batches(source, rows, ids, skipped):
            found.append(np.asarray(encoder.predict_on_batch(batch), np.float32)[: len(batch)])
            advance(len(batch))
        _check_skipped(skipped, rows.stop - rows.start, plan.max_skipped_share)
        advance(len(skipped))
        write_embeddings(folder, number, ids, np.concatenate(found), skipped)
    refuse_changed(source, signature)
    return folder.finish()


def _batches(
    source: EncodedSource, rows: slice, ids: list[str], skipped: list[tuple[str, str]]
) -> Iterator[np.ndarray]:
    """Yield decoded images, uint8 [b, S, S, 3]; ids and items left out go to the lists."""
    images: list[np.ndarray] = []
    for item in source.items(rows):
        if isinstance(item, SkippedFile):
            skipped.append((item.path, item.reason))
            continue
        ids.append(item.id)
        images.append(item.image)
        if len(images) == _BATCH:
            yield np.stack(images)
            images = []
    if images:
        yield np.stack(images)


def _check_skipped(skipped: list[tuple[str, str]], count: int, largest: float) -> None:
    if len(skipped) <= largest * count:
        return
    name, reason = skipped[0]
    raise UserError(
        f"{len(skipped)} of {count} items gave no image; at most {largest:.0%} may. First: {name}: "
        f"{reason}. Remove or repair them, or raise --max-skipped."
    )

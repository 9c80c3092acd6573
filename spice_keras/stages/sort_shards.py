"""The chosen head sorts every row of the shards that a sample was drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from spice_keras.files import write_csv, write_json
from spice_keras.run.context import Context
from spice_keras.run.networks import chosen_head
from spice_keras.shards.embeddings import EmbeddingShards

HEADER = ("image", "cluster", "confidence")
_ROWS = 8192  # sorted at a time


def sort_shards(context: Context) -> None:
    """Sort the rows of all shards and write the artifact `sorted`, a table for each shard.

    Memory is that of one shard's ids and of a block of its rows.

    Args:
        context: The run; its heads were trained on a sample of the shards.
    """
    shards = EmbeddingShards(Path(context.config.data.path or ""))
    head = chosen_head(context)

    @tf.function(reduce_retracing=True)
    def sorted_rows(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = tf.nn.softmax(tf.cast(head(rows, training=False), tf.float32))
        return tf.argmax(probabilities, axis=1), tf.reduce_max(probabilities, axis=1)

    counts = np.zeros(context.config.num_clusters, np.int64)
    with (
        context.screen.task("sort", len(shards)) as task,
        context.run.write("sorted", stage="sort") as folder,
    ):
        for name, ids, rows in shards.shards():
            found: list[tuple[np.ndarray, np.ndarray]] = []
            for block in _blocks(rows):
                clusters, confidence = sorted_rows(tf.convert_to_tensor(block))
                found.append((clusters.numpy(), confidence.numpy()))
                task.advance(len(block))
            clusters, confidence = map(np.concatenate, zip(*found, strict=True))
            counts += np.bincount(clusters, minlength=len(counts))
            sure = (f"{value:.6f}" for value in confidence)
            table = zip(ids, clusters.tolist(), sure, strict=True)
            write_csv(folder / f"{name}.csv", HEADER, table)
        write_json(folder / "counts.json", {"rows": len(shards), "counts": counts})
    context.screen.say(
        f"sort: {len(shards):,} items sorted by the head that {len(context.ids):,} of them "
        f"trained, a table for each shard in {context.run.path / 'artifacts' / 'sorted'}."
    )


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _ROWS):
        yield np.asarray(rows[start : start + _ROWS], np.float32)

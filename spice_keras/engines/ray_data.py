"""Ray Data as the engine: actors on one machine or many hold the model, and each writes shards.

A shard is one task. Ray starts an actor that was killed again, and gives the shard it was writing
to it or another; a node that is gone is done without. Nothing but the numbers of shards passes
through Ray: actors read the source and write the folder themselves, so both must lie where every
machine sees them under the same path.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spice_keras.engines.recipes import Recipe
from spice_keras.errors import UserError
from spice_keras.shards.folder import Manifest, ShardFolder
from spice_keras.shards.writing import Advance, ShardWriter, finish_sound

# Of a processor, asked of Ray for an actor. However many nodes are lost, there is room for all
# actors on those that are left, and for what feeds them: with whole processors asked for, actors
# would wait for a slot, and with them the shards they have.
_SHARE = 0.1
_PATIENCE = 10.0  # seconds in which a cluster answers
_STORE = 2**27  # bytes of Ray's store on one machine: it holds numbers of shards


def write_shards_with_ray(
    recipe: Recipe,
    writer: ShardWriter,
    *,
    workers: int | None = None,
    advance: Advance = lambda _: None,
) -> Manifest | None:
    """Write the shards of a folder that are missing on a Ray cluster, and check all of them.

    The cluster is the one that the environment variable RAY_ADDRESS names; without it, one is
    started on this machine for as long as this takes.

    Args:
        recipe: How a worker opens model and source.
        writer: What it makes in this process.
        workers: Actors that hold the model; None for one on each machine.
        advance: Is told how many items were done, a shard at a time.

    Returns:
        The manifest.

    Raises:
        UserError: If Ray does not start, a worker fails, the source changed
            meanwhile, or a shard stays damaged.
    """
    folder = writer.folder
    with _cluster() as machines:
        actors = workers or len(machines)
        threads = max(1, int(min(machines)) // math.ceil(actors / len(machines)))

        def write(numbers: Sequence[int]) -> None:
            _write(recipe, numbers, actors, threads, advance)

        write(folder.missing())
        writer.check_source()
        finish_sound(folder, write, lambda: _unsound(folder, actors))
    return folder.finish()


@contextmanager
def _cluster() -> Iterator[list[float]]:
    """Join the cluster, or start one; yields the processors of each machine."""
    # Ray reports how it is used to its makers, and sets the GPUs an actor sees, unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # It warns that an actor cannot start again without this process, which waits for it anyway.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _refuse_silent(address)
    import ray

    how: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else how),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at RAY_ADDRESS={address}" if address else "on this machine"
        raise UserError(
            f"Ray does not start {where}: {' '.join(str(error).split())[:300]}. Start a cluster "
            "with `ray start --head`, or use one process: --engine local."
        ) from error
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        yield [processors for n in nodes if (processors := n["Resources"].get("CPU", 0.0))] or [1.0]
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Refuse the address of a cluster where nothing answers: Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return  # such as `auto`, which Ray looks up
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise UserError(
            f"No Ray cluster answers at RAY_ADDRESS={address} ({error.strerror or error}). Start "
            "one with `ray start --head`, or leave RAY_ADDRESS unset to start one on this machine."
        ) from error


@dataclass
class _Actor:
    """Holds what a recipe opens, from its first shard on."""

    recipe: Recipe
    threads: int
    _writer: ShardWriter | None = field(default=None, init=False)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Write some shards; what went wrong comes back as text, so that it is not tried again."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count

        problem = ""
        try:
            writer = self._opened()
            for number in batch["shard"]:
                writer.write_missing(int(number), advance)
        except UserError as error:
            problem = str(error)
        except Exception as error:  # a fault of this program: as often as it is tried
            problem = f"A worker failed with {type(error).__name__}: {error}"
        return {"items": [done], "problem": [problem]}

    def _opened(self) -> ShardWriter:
        if self._writer is None:
            from spice_keras.runtime import start_tensorflow

            # Read when TensorFlow is first used. Without it the threads of each actor would be as
            # many as the machine has processors.
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(self.threads)
            start_tensorflow(
                precision=self.recipe.precision, deterministic=self.recipe.deterministic
            )
            self._writer = self.recipe.open()
        return self._writer


def _dataset(numbers: Sequence[int], blocks: int) -> Any:
    """Numbers of shards as a data set of Ray, in blocks; each is a task."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    items = [{"shard": number} for number in numbers]
    return ray.data.from_items(items, override_num_blocks=min(blocks, len(items)))


def _write(
    recipe: Recipe, numbers: Sequence[int], actors: int, threads: int, advance: Advance
) -> None:
    """Write some shards with actors."""
    if not numbers:
        return
    import ray

    pool = ray.data.ActorPoolStrategy(
        size=min(actors, len(numbers)), max_tasks_in_flight_per_actor=1
    )
    told = _dataset(numbers, len(numbers)).map_batches(
        _Actor,
        fn_constructor_args=(recipe, threads),
        batch_size=1,
        compute=pool,
        num_cpus=_SHARE,
        scheduling_strategy="SPREAD",
    )
    for row in told.iter_rows():
        if row["problem"]:
            raise UserError(row["problem"])
        advance(int(row["items"]))


def _unsound(folder: ShardFolder, tasks: int) -> list[int]:
    """The shards whose files are not those that were written; all machines look.

    As many tasks at a time as there were actors: for a tenth of a processor each, Ray would start
    ten processes on every one.
    """

    def check(batch: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"shard": [n for n in batch["shard"].tolist() if not folder.is_sound(n)]}

    numbers = _dataset(range(folder.num_shards), 4 * tasks)
    found = numbers.map_batches(
        check, batch_size=1, num_cpus=_SHARE, concurrency=tasks, scheduling_strategy="SPREAD"
    )
    return sorted(int(row["shard"]) for row in found.iter_rows())

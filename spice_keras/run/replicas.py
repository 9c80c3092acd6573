"""What shares the steps of training: one device, all GPUs of a machine, or several hosts."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context as eager

from spice_keras.config import Plan, RunConfig
from spice_keras.errors import UserError, WorkerLost
from spice_keras.run.cluster import Company
from spice_keras.run.directory import READS, RunDirectory
from spice_keras.training.checkpoints import Checkpoints

_NEWS_WITHIN = 45.0  # seconds in which the end of a machine is noticed
_SEEN_WITHIN = 60.0  # seconds in which a network's file system shows what another host wrote


class Replicas:
    """The replicas of a run, each of which takes an equal share of every batch.

    Args:
        strategy: From `training_strategy`; None for one device.
        company: The workers of several hosts; None on one.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, company: Company | None = None
    ) -> None:
        self._strategy, self._company = strategy, company
        if company is not None:
            company.on_loss(_give_up_waiting)

    @property
    def count(self) -> int:
        """How many there are."""
        return 1 if self._strategy is None else int(self._strategy.num_replicas_in_sync)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run directory: always, on one host."""
        return self._company is None or self._company.cluster.is_chief

    @contextmanager
    def phase(self, run: RunDirectory, name: str) -> Iterator[None]:
        """Begin a phase of training, and build its model within the block.

        The chief calls the other workers to it. Variables that are made in the block begin alike
        on all replicas.

        Args:
            run: The run directory.
            name: The phase: pretrain, self or semi.
        """
        if self._strategy is None:
            yield
            return
        if self._company is not None and self.is_chief:
            self._company.tell({"phase": name, "seen": _state(run, name)})
        with self.watched(), self._strategy.scope():
            yield

    def next_phase(self, run: RunDirectory) -> str | None:
        """Wait, as a worker, for the phase that the chief calls to.

        Args:
            run: The run directory.

        Returns:
            Its name; None if the run is over.

        Raises:
            UserError: If a worker was lost, or this one sees another run directory.
        """
        if self._company is None:
            return None
        message = self._company.next_message()
        if message.get("over"):
            return None
        _wait_until_seen(run, str(message["phase"]), message["seen"])
        return str(message["phase"])

    def wait_for(self, run: RunDirectory, artifacts: Collection[str]) -> None:
        """Wait, at the end of a run, until this host sees what the chief wrote; a minute at most.

        Args:
            run: The run directory.
            artifacts: What the run leaves.
        """
        deadline = time.monotonic() + _SEEN_WITHIN
        while not all(map(run.has, artifacts)) and time.monotonic() < deadline:
            time.sleep(0.5)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say which worker was lost, if the block fails because one was.

        Raises:
            WorkerLost: With its name.
        """
        try:
            yield
        except (tf.errors.OpError, RuntimeError) as error:
            lost = None if self._company is None else self._company.loss(_NEWS_WITHIN)
            if lost is None:
                raise
            raise WorkerLost(lost) from error


def _give_up_waiting(reason: str) -> None:
    """End the steps that wait for a worker that is gone."""
    eager.context().abort_collective_ops(tf.errors.UNAVAILABLE, reason)


def _state(run: RunDirectory, phase: str) -> dict[str, Any]:
    """What every worker has to see of a run before a phase."""
    artifacts = {name: run.digest(name) for name in READS}
    return {"artifacts": artifacts, "epoch": Checkpoints(run.checkpoints / phase).completed}


def _wait_until_seen(run: RunDirectory, phase: str, chiefs: Mapping[str, Any]) -> None:
    deadline = time.monotonic() + _SEEN_WITHIN
    while _state(run, phase) != chiefs:
        if time.monotonic() > deadline:
            raise UserError(
                f"{run.path} is not what the chief sees there. All hosts need one run directory, "
                "on a file system that they share, at the same path."
            )
        time.sleep(0.5)


def training_strategy(config: RunConfig, company: Company | None) -> tf.distribute.Strategy | None:
    """Return the strategy of a configuration; call it before anything else uses TensorFlow.

    Args:
        config: The configuration.
        company: The workers, if it asks for several hosts.

    Returns:
        The strategy; None for one device.

    Raises:
        UserError: If it asks for more devices than there are.
    """
    if company is not None:
        return _multi_worker()
    if config.strategy != "mirrored":
        return None
    devices = training_devices()
    if len(devices) < 2:
        raise UserError(
            "strategy=mirrored shares each batch between the GPUs of this machine, and TensorFlow "
            f"sees one device: {devices[0]}. Use --strategy none; to try several processes here: "
            "`spice launch --workers 2 -- spice run --strategy multiworker ...`."
        )
    return _mirrored(devices)


def training_devices() -> tuple[str, ...]:
    """Return the names of all GPUs, such as `GPU:0`; without one, those of the CPU."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tuple(device.name.removeprefix("/device:") for device in found)


@cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(devices)


@cache
def _multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            "strategy=multiworker has to be the first that a process asks of TensorFlow "
            f"({error}). Begin the run in a process of its own."
        ) from error


def refuse_uneven_batches(config: RunConfig, plan: Plan, replicas: int) -> None:
    """Refuse batches that the replicas cannot share evenly.

    Args:
        config: The configuration.
        plan: Its sizes.
        replicas: How many there are.

    Raises:
        UserError: With the option, and the nearest size that can be shared.
    """
    if replicas == 1:
        return
    groups = config.pretrain.bn_groups
    if config.trains_encoder and groups > 1 and groups % replicas:
        raise UserError(
            f"{groups} groups of batch normalisation cannot be shared by {replicas} devices; set "
            f"pretrain.bn_groups to 1, or to a multiple of {replicas}."
        )
    for option, size in _shared_sizes(config, plan).items():
        if size % replicas:
            nearest = max(1, round(size / replicas)) * replicas
            raise UserError(
                f"A batch of {size} cannot be shared evenly by {replicas} devices; set {option} so "
                f"that a batch has {nearest}."
            )


def _shared_sizes(config: RunConfig, plan: Plan) -> dict[str, int]:
    """The batches that are shared, by the option that sets them."""
    sizes = {}
    if config.trains_encoder:
        sizes["pretrain.batch_size"] = plan.pretrain.batch_size
    if config.encodes_in_steps:
        sizes["self.large_batch"] = plan.self_labeling.large_batch
    if config.semi.enabled:
        sizes["semi.labeled_batch"] = plan.semi.labeled_batch
        sizes["semi.unlabeled_ratio"] = plan.semi.unlabeled_batch
    return sizes

"""One `fit` for every stage: resumable at the ends of epochs, watched, logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from spice_keras.errors import WorkerLost
from spice_keras.progress import Screen
from spice_keras.training.callbacks import (
    CarriesState,
    LogEpoch,
    SaveCheckpoint,
    ShowProgress,
    StopWhenDiverged,
)
from spice_keras.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class FitLength:
    """How long a fit is, and how often it is saved.

    Attributes:
        epochs: Epochs in all.
        steps_per_epoch: Steps of each.
        checkpoint_every: Epochs between two checkpoints.
        items_per_step: Images or rows of a step, for the rate shown.
    """

    epochs: int
    steps_per_epoch: int
    checkpoint_every: int
    items_per_step: int


@dataclass(frozen=True)
class Monitor:
    """Who is told while a fit goes on.

    Attributes:
        screen: Where progress shows.
        figures: Logs shown beside the rate, with their formats.
        write_row: Takes each epoch's figures.
        forget_rows: Takes the epoch training goes on from; rows from there on are void.
        learning_rate: The option that lowers the learning rate, for the message on divergence.
        callbacks: The stage's own callbacks; those that carry state are saved along.
        watched: Makes what the steps are taken within; it says so if another worker is lost.
    """

    screen: Screen
    figures: Mapping[str, str]
    write_row: Callable[[dict[str, Any]], None]
    forget_rows: Callable[[int], None]
    learning_rate: str
    callbacks: Sequence[keras.callbacks.Callback] = field(default_factory=tuple)
    watched: Callable[[], AbstractContextManager[None]] = nullcontext


def compile_for_device(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compile with XLA on a GPU and without it on a CPU, where its convolutions are slower."""
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    model.compile(optimizer=optimizer, jit_compile=on_gpu)


def fit_resumable(
    model: keras.Model,
    batches: Callable[[int], Iterable[dict[str, tf.Tensor]]],
    *,
    stage: str,
    length: FitLength,
    checkpoints: Checkpoints,
    monitor: Monitor,
) -> None:
    """Train from the last checkpoint, or from the start, to the end of the length.

    The batches are a function of the epoch they start at, so a continued run sees what an
    uninterrupted one would have seen, and ends the same.

    Args:
        model: Built and compiled, its optimizer built.
        batches: Makes the endless batches that start at an epoch.
        stage: Name for messages.
        length: How long, and how often saved.
        checkpoints: The stage's checkpoints.
        monitor: Who is told.
    """
    carriers = [c for c in monitor.callbacks if isinstance(c, CarriesState)]
    first, state = checkpoints.restore(model)
    if first:
        monitor.screen.say(f"{stage}: continues after epoch {first} of {length.epochs}.")
        for carrier in carriers:
            carrier.restore(state)
    monitor.forget_rows(first)
    with monitor.screen.task(
        stage,
        length.epochs * length.steps_per_epoch,
        per_step=length.items_per_step,
        start=first * length.steps_per_epoch,
    ) as task:
        saver = SaveCheckpoint(
            checkpoints,
            every=length.checkpoint_every,
            carriers=carriers,
            epochs=length.epochs,
        )
        callbacks = [
            StopWhenDiverged(stage, monitor.learning_rate),
            *monitor.callbacks,
            ShowProgress(task, monitor.figures),
            LogEpoch(monitor.write_row, task),
            saver,
        ]
        with _saved_if_interrupted(saver, monitor.screen, stage), monitor.watched():
            _fit(model, batches(first), length, first, callbacks)


@contextmanager
def _saved_if_interrupted(saver: SaveCheckpoint, screen: Screen, stage: str) -> Iterator[None]:
    """Save the last whole epoch if Ctrl-C, SIGTERM or the loss of a worker ends the block."""
    try:
        yield
    except (KeyboardInterrupt, WorkerLost):
        epoch = saver.save_unsaved()
        if epoch is not None:
            screen.say(f"{stage}: saved after epoch {epoch}.")
        raise


def _fit(
    model: keras.Model,
    batches: Iterable[dict[str, tf.Tensor]],
    length: FitLength,
    first: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    shared = model.distribute_strategy.num_replicas_in_sync > 1
    if shared or not isinstance(batches, tf.data.Dataset):
        fit_on_replicas(model, batches, length, first, callbacks)
        return
    model.fit(
        batches,
        epochs=length.epochs,
        initial_epoch=first,
        steps_per_epoch=length.steps_per_epoch,
        verbose=0,
        shuffle=False,  # the batches come shuffled
        callbacks=callbacks,
    )


def fit_on_replicas(
    model: keras.Model,
    batches: Iterable[dict[str, tf.Tensor]],
    length: FitLength,
    first: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Train a model under the strategy it was built in; on one device it is `fit` to the last bit.

    `fit` would cut batches by itself. Here the batch of a step is the same for any number of
    replicas, and replica r takes the r-th part of its rows.

    Args:
        model: Built and compiled in the strategy's scope, its optimizer built.
        batches: Endless, from the first epoch on; a part is a tensor `[B, ...]`, B a multiple of
            the number of replicas.
        length: How long.
        first: Epochs completed.
        callbacks: Keras's; each step's logs are the running means of the epoch.
    """
    strategy = model.distribute_strategy

    @tf.function
    def step(batch: dict[str, tf.Tensor]) -> Any:
        # Like `fit` it returns the logs: without them the graph is another, and so is its last bit.
        logs = strategy.run(model.train_step, args=(batch,))
        if strategy.num_replicas_in_sync == 1:
            return logs
        # Shares are equally large, so the mean of their means is that of the batch.
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    told = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=length.epochs, steps=length.steps_per_epoch
    )
    model.stop_training, steps, logs = False, iter(batches), {}
    told.on_train_begin()
    for epoch in range(first, length.epochs):
        model.reset_metrics()
        told.on_epoch_begin(epoch)
        for number in range(length.steps_per_epoch):
            told.on_train_batch_begin(number)
            found = step(shares(next(steps), strategy))
            logs = {name: float(value) for name, value in found.items()}
            told.on_train_batch_end(number, logs)
        told.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    told.on_train_end(logs)


def shares(batch: dict[str, tf.Tensor], strategy: tf.distribute.Strategy) -> Any:
    """Cut each part of a batch into as many parts as there are replicas.

    Args:
        batch: Tensors `[B, ...]`, B a multiple of the number of replicas.
        strategy: The replicas.

    Returns:
        What `strategy.run` hands to each: the parts of this process's own replicas.
    """
    replicas = strategy.num_replicas_in_sync
    cut = {name: tf.split(part, replicas) for name, part in batch.items()}
    return strategy.experimental_distribute_values_from_function(
        lambda context: {
            name: parts[context.replica_id_in_sync_group] for name, parts in cut.items()
        }
    )

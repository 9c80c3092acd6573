"""Training as a stage of a run: from the last checkpoint, logged to the run directory, watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from spice_keras.run.context import Context
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import FitLength, Monitor, fit_on_replicas, fit_resumable


@dataclass(frozen=True)
class Phase:
    """One fit of a stage.

    Attributes:
        name: Of its checkpoints, its rows in metrics.jsonl and its messages.
        length: How long it trains, and how often it is saved.
        figures: Logs shown beside the rate, with their formats.
        learning_rate: The option that lowers its learning rate, for the message on divergence.
        callbacks: The stage's own; those that carry state are saved along.
        on_row: Is told each epoch's figures and may add to them.
    """

    name: str
    length: FitLength
    figures: Mapping[str, str]
    learning_rate: str
    callbacks: Sequence[keras.callbacks.Callback] = field(default_factory=tuple)
    on_row: Callable[[dict[str, Any]], None] | None = None


def fit_phase(
    context: Context,
    phase: Phase,
    model: keras.Model,
    batches: Callable[[int], Iterable[dict[str, tf.Tensor]]],
) -> None:
    """Train to the end of a phase; its checkpoints stay: see `checkpoints_of`.

    A worker that is not the chief takes its share of each step, and writes and says nothing.

    Args:
        context: The run.
        phase: What is trained, and how long.
        model: Built and compiled, its optimizer built.
        batches: First epoch to the endless batches from there on.
    """
    if not context.replicas.is_chief:
        first, _ = checkpoints_of(context, phase.name).restore(model)
        with context.replicas.watched():
            fit_on_replicas(model, batches(first), phase.length, first, ())
        return

    def write_row(row: dict[str, Any]) -> None:
        if phase.on_row is not None:
            phase.on_row(row)
        context.log(phase.name, row)

    fit_resumable(
        model,
        batches,
        stage=phase.name,
        length=phase.length,
        checkpoints=checkpoints_of(context, phase.name),
        monitor=Monitor(
            context.screen,
            phase.figures,
            write_row,
            lambda epoch: context.run.forget_metrics(phase.name, from_epoch=epoch),
            phase.learning_rate,
            phase.callbacks,
            context.replicas.watched,
        ),
    )


def checkpoints_of(context: Context, phase: str) -> Checkpoints:
    """Return the checkpoints of a phase: cleared once the stage's artifact is written."""
    return Checkpoints(context.run.checkpoints / phase)

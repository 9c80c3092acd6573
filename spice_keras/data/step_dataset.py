"""Datasets whose every batch is a function of its step."""

from __future__ import annotations

import os
from collections.abc import Callable

import tensorflow as tf

_PARALLEL_BATCHES = max(2, min(8, os.cpu_count() or 2))

Batch = dict[str, tf.Tensor]


def step_dataset(
    batch: Callable[[tf.Tensor], Batch], start: int, stop: int | None
) -> tf.data.Dataset:
    """Batches of the steps from `start` to before `stop`, made in parallel, in order.

    Args:
        batch: Makes the batch of a step, an int64 scalar.
        start: First step.
        stop: Step after the last; None never ends.

    Returns:
        The data set.
    """
    if stop is None:
        steps = tf.data.Dataset.counter(start=start)
    else:
        steps = tf.data.Dataset.range(start, stop)
    return mapped(steps, batch)


def mapped(steps: tf.data.Dataset, batch: Callable[[tf.Tensor], Batch]) -> tf.data.Dataset:
    """Make a batch of each element, keep their order, and prepare some while one is in use."""
    options = tf.data.Options()
    options.deterministic = True
    # Autotuning has a thread that sleeps up to a minute, and deleting the iterator may wait for
    # it to wake (seen with TensorFlow 2.21: 20 to 60 s after the last step of one fit in two).
    options.autotune.enabled = False
    # The functions branch on tensors by tf.cond alone; converting them would take as long as
    # tracing them.
    made = tf.autograph.experimental.do_not_convert(batch)
    batches = steps.map(made, num_parallel_calls=_PARALLEL_BATCHES)
    return batches.with_options(options).prefetch(_PARALLEL_BATCHES)

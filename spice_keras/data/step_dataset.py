"""Datasets whose every batch is a function of its step."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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


def read_rows(
    read: Callable[..., np.ndarray],
    data: Sequence[Any],
    inputs: Sequence[tf.Tensor],
    dtype: tf.DType,
) -> tf.Tensor:
    """Read from arrays outside the graph, so that memory-mapped ones stay on disk.

    TensorFlow keeps a function that is called from a data set's graph for as long as the process
    lives, and with it all that the function holds: the images of every run. So it holds the data
    weakly. Whoever makes the data set keeps them, by the function that makes its batches.

    Args:
        read: Takes the data, then the inputs as arrays. It holds no data itself.
        data: Arrays, or objects that lead to them.
        inputs: What to read.
        dtype: Of what is read.

    Returns:
        What is read, its shape unknown.
    """
    held = [weakref.ref(each) for each in data]

    def called(*arrays: np.ndarray) -> np.ndarray:
        return read(*(each() for each in held), *arrays)

    return tf.numpy_function(called, list(inputs), dtype, stateful=False)

"""The compiled step that `fit` runs, on a batch that is already there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.workers import Work, ask


def fit_step(model: Any, batch: Mapping[str, np.ndarray]) -> Work:
    """One step of a compiled model on the same batch each time.

    Args:
        model: A compiled Keras model, its optimizer built.
        batch: What its `train_step` takes.

    Returns:
        The turn: one step, finished when its loss is there.
    """
    import tensorflow as tf

    batches = iter(tf.data.Dataset.from_tensors(dict(batch)).repeat())
    model.make_train_function()
    step = model.train_function
    return lambda: float(step(batches)["loss"])


def trained_numbers(make: Callable[[], Any]) -> int:
    """Count what a network trains.

    Args:
        make: Builds a Keras model or a PyTorch module.

    Returns:
        The numbers in its trainable weights.
    """
    network = make()
    if hasattr(network, "trainable_variables"):
        return sum(math.prod(variable.shape) for variable in network.trainable_variables)
    return sum(parameter.numel() for parameter in network.parameters())


def check_same_network(ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
    """Both sides train the same number of weights.

    Args:
        ours: Builds the Keras model; travels to another process by name.
        theirs: Builds the PyTorch module, likewise.

    Returns:
        What was found, for the page.

    Raises:
        AssertionError: If the counts differ.
    """
    mine, other = (ask(trained_numbers, make) for make in (ours, theirs))
    if mine != other:
        raise AssertionError(f"The networks differ: {mine} and {other} trained numbers.")
    return f"both sides train {mine:,} numbers"

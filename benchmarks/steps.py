"""The compiled step that `fit` runs, on a batch that is already there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.workers import Contender, Work, ask

FLOAT32, BFLOAT16 = "spice_keras, float32", "spice_keras, bfloat16"
TORCH, TORCH_BEST = "PyTorch, float32", "PyTorch, bfloat16 channels_last"
VIEWS_GIVEN = "Both sides are given views that are already made; PyTorch's are normalised too."


def step_contenders(ours: Callable[..., Work], theirs: Callable[..., Work]) -> list[Contender]:
    """The four sides of a training step.

    Args:
        ours: Makes a step of a precision.
        theirs: Makes PyTorch's, the reference's or the best it can.

    Returns:
        Either side in either precision.
    """
    return [
        Contender(BFLOAT16, ours, {"precision": "bfloat16"}),
        Contender(FLOAT32, ours, {"precision": "float32"}),
        Contender(TORCH, theirs, {"best": False}),
        Contender(TORCH_BEST, theirs, {"best": True}),
    ]


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

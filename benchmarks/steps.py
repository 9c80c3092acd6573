"""What the rows of training steps share: precisions, contenders, the step that `fit` runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Target
from benchmarks.workers import Contender, Work, ask
from spice_keras.runtime import has_bfloat16

if TYPE_CHECKING:
    from spice_keras.heads.objectives import HeadOptions, PrototypeOptions, SelfLabeling

RUN = "bfloat16" if has_bfloat16() else "float32"
"""The precision that a run takes on this processor."""
OURS = f"spice_keras, {RUN}"
TORCH, TORCH_BEST = "PyTorch, float32", f"PyTorch, {RUN} channels_last"
VIEWS_GIVEN = "Both sides are given views that are already made; PyTorch's are normalised too."


def in_each_precision(ours: Callable[..., Work], *, named: str = "") -> list[Contender]:
    """Our side in the precision that a run takes on this processor, and in float32 beside it.

    Args:
        ours: Does the work in a precision.
        named: What follows the precision in the contender's name.

    Returns:
        One contender, or two.
    """
    return [
        Contender(f"spice_keras, {precision}{named}", ours, {"precision": precision})
        for precision in dict.fromkeys((RUN, "float32"))
    ]


def targets_against(
    other: str, *, bfloat16: float | None, float32: float | None, named: str = ""
) -> list[Target]:
    """The ratios of `in_each_precision` over one other side.

    Args:
        other: Name of that side.
        bfloat16: The ratio wanted in bfloat16.
        float32: The ratio wanted in float32.
        named: What follows the precision in our contenders' names.

    Returns:
        One target, or two.
    """
    wanted = {"bfloat16": bfloat16, "float32": float32}
    return [
        Target(f"spice_keras, {precision}{named}", other, wanted[precision])
        for precision in dict.fromkeys((RUN, "float32"))
    ]


def step_contenders(ours: Callable[..., Work], theirs: Callable[..., Work]) -> list[Contender]:
    """The sides of a training step.

    Args:
        ours: Makes a step of a precision.
        theirs: Makes PyTorch's, the reference's or the best it can.

    Returns:
        Ours in each precision; theirs as it is published, and the best it can be here.
    """
    return [
        *in_each_precision(ours),
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


def prototype_heads(
    rows: np.ndarray, views: np.ndarray, heads: HeadOptions, options: PrototypeOptions
) -> SelfLabeling:
    """Bind SPICE-Self's heads to drawn embeddings.

    Args:
        rows: What the heads are judged on, unit rows. Shape: (N, dim).
        views: What they train on, weak and strong. Shape: (num_views, N, dim).
        heads: The heads.
        options: Their iterations.

    Returns:
        The objective, its model compiled.
    """
    from spice_keras.heads.feature_bank import FeatureBank
    from spice_keras.heads.objectives import prototype_labeling

    neighbors = np.zeros((len(rows), 1), np.int32)  # not read by this objective
    bank = FeatureBank(rows, rows, neighbors, neighbors, views, views)
    return prototype_labeling(bank, heads, options)


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

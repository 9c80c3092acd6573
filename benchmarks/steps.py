"""The compiled step that `fit` runs, on a batch that is already there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.workers import Work


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

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from spice_keras.models.replicas import apply_gradients


def _taught(gradients_are_applied: bool) -> tuple[np.ndarray, weakref.ref[tf.Graph]]:
    """A variable after three steps, and the graph of the step."""
    variable = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([variable])
    graphs: list[weakref.ref[tf.Graph]] = []

    @tf.function
    def step() -> None:
        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(variable.value**2)
        gradients = [tape.gradient(loss, variable.value)]
        if gradients_are_applied:
            apply_gradients(optimizer, gradients, [variable])
        else:
            optimizer.apply(gradients, [variable])

    for _ in range(3):
        step()
    return variable.numpy(), graphs[-1]


def test_a_step_is_the_optimizers_and_leaves_no_graph() -> None:
    registered = len(ops.gradient_registry.list())
    mine, graph = _taught(True)
    gc.collect()
    assert len(ops.gradient_registry.list()) == registered
    assert graph() is None
    theirs, _ = _taught(False)
    np.testing.assert_array_equal(mine, theirs)

"""What a GPU does otherwise than a CPU. Without one it runs on the CPU, where XLA works too."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.models.moco import MoCo
from spice_keras.runtime import tensorflow_session
from tests.algorithm.arrays import unit_rows
from tests.models.synthetic import batches, encoder, moco_batch

pytestmark = pytest.mark.gpu
_STEPS = 3


def _losses(*, jit: bool) -> list[float]:
    """Losses of a few steps of MoCo on whatever device TensorFlow prefers."""
    model = MoCo(encoder(), projection_dim=8, queue_size=20, momentum=0.9)
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    data = batches(moco_batch, range(_STEPS))
    history = model.fit(data, epochs=_STEPS, steps_per_epoch=1, shuffle=False, verbose=0)
    return list(history.history["loss"])


def test_a_step_compiled_by_xla_is_the_same_step() -> None:
    np.testing.assert_allclose(_losses(jit=True), _losses(jit=False), rtol=2e-3)


def test_the_same_steps_twice_are_the_same_bits() -> None:
    with tensorflow_session(precision="float32"):
        assert _losses(jit=False) == _losses(jit=False)


def test_bfloat16_goes_the_same_way() -> None:
    with tensorflow_session(precision="bfloat16"):
        rounded = _losses(jit=False)
    assert rounded != _losses(jit=False)
    np.testing.assert_allclose(rounded, _losses(jit=False), rtol=0.1)


def test_neighbors_are_those_of_the_processor() -> None:
    """The search keeps off the GPU by itself; a product there would round otherwise."""
    rows = unit_rows(np.random.default_rng(0), 700, 12)
    found = nearest_neighbors(rows, 9)
    with tf.device("CPU:0"):
        np.testing.assert_array_equal(found, nearest_neighbors(rows, 9))
    best = np.argsort(-(rows @ rows.T), axis=1)[:, :9]
    assert np.mean(np.sort(found, axis=1) == np.sort(best, axis=1)) > 0.99

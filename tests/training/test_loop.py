"""The loop: an interrupted and continued training ends as an uninterrupted one, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from spice_keras.augment.policies import moco, weak
from spice_keras.data.batches import training_batches
from spice_keras.models.moco import MoCo
from spice_keras.progress import Loudness, Screen
from spice_keras.training.callbacks import CarriesState
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import FitLength, Monitor, compile_for_device, fit_resumable
from tests.models.synthetic import images, make_moco

_BATCH, _STEPS, _EPOCHS = 6, 3, 4


def _batches(first_epoch: int) -> tf.data.Dataset:
    return training_batches(
        images(20),
        views={"query": weak(), "key": moco()},
        batch_size=_BATCH,
        seed=3,
        first_epoch=first_epoch,
        epochs=_EPOCHS - first_epoch,
    )


class _Remembers(CarriesState):
    """Carries the losses seen from epoch to epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.losses.append(float((logs or {})["loss"]))

    def state(self) -> dict[str, np.ndarray]:
        return {"losses": np.array(self.losses)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.losses = state["losses"].tolist()


class _Interrupt(keras.callbacks.Callback):
    """Stands for a kill in the middle of an epoch."""

    def __init__(self, epoch: int | None, error: type[BaseException]) -> None:
        super().__init__()
        self._at, self._epoch, self._error = epoch, -1, error

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self._epoch, batch) == (self._at, 1):
            raise self._error


class _Training:
    """One stage on disk: its checkpoints, rows and what was said."""

    def __init__(self, folder: Path, every: int = 2) -> None:
        self.checkpoints = Checkpoints(folder)
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.forgotten: list[int] = []
        self.every = every
        self.said = io.StringIO()

    def _forget(self, epoch: int) -> None:
        self.forgotten.append(epoch)
        self.rows = [row for row in self.rows if row["epoch"] < epoch]

    def fit(
        self, interrupt_at: int | None = None, error: type[BaseException] = MemoryError
    ) -> tuple[MoCo, _Remembers]:
        """Train a fresh model from wherever the checkpoints allow."""
        model = make_moco()
        remembers = _Remembers()
        monitor = Monitor(
            Screen(Loudness.NORMAL, Console(file=self.said, soft_wrap=True)),
            {"loss": "loss {:.3f}"},
            lambda row: self.rows.append(row),  # the list is replaced when rows are forgotten
            self._forget,
            "pretrain.learning_rate",
            (remembers, _Interrupt(interrupt_at, error)),
        )
        length = FitLength(_EPOCHS, _STEPS, self.every, _BATCH)
        fit_resumable(
            model, _batches, stage="pretrain", length=length, checkpoints=self.checkpoints,
            monitor=monitor,
        )  # fmt: skip
        return model, remembers


def _figures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[MoCo, _Remembers, _Training]:
    training = _Training(tmp_path_factory.mktemp("whole"), every=100)
    return (*training.fit(), training)


@pytest.mark.parametrize(("error", "saved"), [(MemoryError, 2), (KeyboardInterrupt, 3)])
def test_two_and_two_epochs_are_four(
    tmp_path: Path,
    whole: tuple[MoCo, _Remembers, _Training],
    error: type[BaseException],
    saved: int,
) -> None:
    """Broken off in the fourth epoch, after three rows and the checkpoint of the second.

    Who interrupts it keeps the third epoch as well.
    """
    training = _Training(tmp_path / "pretrain")
    with pytest.raises(error):
        training.fit(interrupt_at=3, error=error)
    assert [row["epoch"] for row in training.rows] == [0, 1, 2]
    model, remembers = training.fit()
    assert training.forgotten == [0, saved]
    assert f"pretrain: continues after epoch {saved} of 4." in training.said.getvalue()

    expected_model, expected_memory, expected = whole
    pairs = zip(
        [*expected_model.variables, *expected_model.optimizer.variables],
        [*model.variables, *model.optimizer.variables],
        strict=True,
    )
    for old, new in pairs:
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new), err_msg=old.path)
    assert any("queue" in variable.path for variable in model.variables)
    assert int(model.optimizer.iterations) == _EPOCHS * _STEPS
    assert remembers.losses == expected_memory.losses
    assert len(remembers.losses) == _EPOCHS
    assert _figures(training.rows) == _figures(expected.rows)


def test_an_epoch_that_was_not_saved_is_done_again(tmp_path: Path) -> None:
    training = _Training(tmp_path / "pretrain")
    with pytest.raises(MemoryError):
        training.fit(interrupt_at=1)
    assert not training.folder.exists()
    training.fit(interrupt_at=None)
    assert training.forgotten == [0, 0]
    assert [row["epoch"] for row in training.rows] == [0, 1, 2, 3]


def test_a_row_an_epoch_with_its_figures(whole: tuple[MoCo, _Remembers, _Training]) -> None:
    rows = whole[2].rows
    assert [row["epoch"] for row in rows] == list(range(_EPOCHS))
    for row in rows:
        assert row.keys() == {"epoch", "loss", "embedding_std", "images_per_second"}
        assert row["images_per_second"] > 0
    assert rows[0]["loss"] != rows[1]["loss"]


class _BeyondXla(keras.layers.Layer):
    """A loss worked out in Python, for which XLA has no kernel."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        target = tf.numpy_function(np.zeros_like, [inputs], tf.float32)
        self.add_loss(tf.reduce_mean((inputs - tf.ensure_shape(target, inputs.shape)) ** 2))
        return inputs


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="without a GPU")
def test_without_a_gpu_a_layer_that_xla_cannot_compile_is_trained() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), _BeyondXla()])
    compile_for_device(model, keras.optimizers.SGD(0.1))
    before = model.get_weights()[0].copy()
    model.fit(np.ones((4, 1)), shuffle=False, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before)

"""The callbacks, called as `fit` calls them."""

from __future__ import annotations

import io
import math
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console

from spice_keras.errors import UserError
from spice_keras.progress import Loudness, Screen, Task
from spice_keras.training import callbacks
from spice_keras.training.callbacks import (
    CarriesState,
    EstimateRun,
    LogEpoch,
    SaveCheckpoint,
    ShowProgress,
    StopWhenDiverged,
)


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def task(output: io.StringIO) -> Task:
    screen = Screen(Loudness.NORMAL, Console(file=output, highlight=False, width=200))
    return Task(screen, "stage", 10, "images", 4, 0)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    callback = StopWhenDiverged("pretrain", "pretrain.learning_rate")
    callback.on_train_batch_end(0, {"loss": 3.0})
    with pytest.raises(UserError, match=r"pretrain diverged.* at step 7") as caught:
        callback.on_train_batch_end(7, {"loss": loss})
    assert str(caught.value).endswith("Lower the learning rate (--set pretrain.learning_rate=...).")


def test_float32_is_offered_to_what_is_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "dtype_policy", lambda: keras.DTypePolicy("mixed_bfloat16"))
    with pytest.raises(UserError, match=r"\.\.\.\) or use --set precision=float32\.$"):
        StopWhenDiverged("semi", "semi.learning_rate").on_train_batch_end(0, {"loss": math.nan})


@pytest.mark.parametrize("logs", [None, {}, {"other": math.nan}, {"loss": 1e30}])
def test_everything_else_goes_on(logs: dict[str, Any] | None) -> None:
    StopWhenDiverged("self", "self.learning_rate").on_train_batch_end(0, logs)


def test_divergence_ends_a_real_fit() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1e38), loss="mse", jit_compile=False)
    with pytest.raises(UserError, match="semi diverged"):
        model.fit(
            np.full((8, 1), 1e9), np.zeros((8, 1)), batch_size=1, epochs=2, verbose=0,
            shuffle=False, callbacks=[StopWhenDiverged("semi", "semi.learning_rate")],
        )  # fmt: skip


def test_an_epoch_becomes_a_row_of_plain_numbers(task: Task) -> None:
    rows: list[dict[str, Any]] = []
    callback = LogEpoch(rows.append, task)
    callback.on_epoch_end(0, {"loss": np.float32(0.5), "head_losses": [1.0, 2.0]})
    callback.on_epoch_end(1, None)
    assert rows[0].keys() == {"epoch", "loss", "head_losses", "images_per_second"}
    assert rows[0]["loss"] == 0.5
    assert type(rows[0]["loss"]) is float
    assert rows[0]["head_losses"] == [1.0, 2.0]
    assert rows[1].keys() == {"epoch", "images_per_second"}
    assert [row["epoch"] for row in rows] == [0, 1]


def test_progress_shows_the_figures_it_is_told(
    task: Task, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = ShowProgress(task, {"loss": "loss {:.2f}", "std": "std {:.1f}", "absent": "{}"})
    callback.on_train_batch_end(0, {"loss": np.float32(1.234), "std": 0.5, "other": 3})
    callback.on_train_batch_end(1, None)
    callback.on_train_batch_end(2, {"loss": 2.0, "std": 0.25})
    task.close(completed=True)
    assert output.getvalue().rstrip().endswith("loss 2.00 · std 0.2")
    assert task.rate > 0


class _Carrier(CarriesState):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def state(self) -> dict[str, np.ndarray]:
        return {self.name: np.ones(1)}


class _Saved:
    def __init__(self) -> None:
        self.calls: list[tuple[int, Any, list[str]]] = []

    def save(self, epoch: int, model: Any, state: dict[str, np.ndarray]) -> None:
        self.calls.append((epoch, model, sorted(state)))


@pytest.mark.parametrize(
    ("every", "epochs", "expected"), [(1, 4, [1, 2, 3]), (2, 6, [2, 4]), (5, 7, [5]), (9, 9, [])]
)
def test_checkpoints_come_every_few_epochs_but_not_at_the_last(
    every: int, epochs: int, expected: list[int]
) -> None:
    saved = _Saved()
    carriers: list[CarriesState] = [_Carrier("a"), _Carrier("b"), CarriesState()]
    callback = SaveCheckpoint(
        saved,  # type: ignore[arg-type]
        every=every,
        carriers=carriers,
        epochs=epochs,
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd")
    callback.set_model(model)
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    assert [call[0] for call in saved.calls] == expected
    assert all(call[1:] == (model, ["a", "b"]) for call in saved.calls)


def test_the_estimate_comes_once_from_steps_after_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first steps trace the graph: their time says nothing of the rest."""
    now = 0.0
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now)
    said: list[float] = []
    callback = EstimateRun(said.append)
    for step in range(30):
        now += 100.0 if step < EstimateRun.SKIP else 0.5
        callback.on_train_batch_end(step)
    assert said == [0.5]


def test_a_run_too_short_to_time_gets_no_estimate() -> None:
    said: list[float] = []
    callback = EstimateRun(said.append)
    for step in range(EstimateRun.SKIP + EstimateRun.COUNT - 1):
        callback.on_train_batch_end(step)
    assert said == []

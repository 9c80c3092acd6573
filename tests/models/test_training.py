"""What the models owe to ``compile`` and ``fit``: golden losses, exact resume, callbacks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.contract import PRECISIONS, precision
from tests.models.make_golden import GOLDEN, losses
from tests.models.synthetic import TRAINED, batches, fit, make_moco, moco_batch


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_golden_losses(name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    np.testing.assert_allclose(losses(name), golden[name], rtol=1e-3)


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_two_and_two_steps_are_four(name: str, tmp_path: Path) -> None:
    make, batch = TRAINED[name]
    _check_resume(make(), make(), make(), batch, tmp_path / "half.weights.h5")


def test_symmetric_shuffled_moco_resumes_exactly(tmp_path: Path) -> None:
    models = [make_moco(symmetric=True, shuffle_keys=True, bn_groups=2) for _ in range(3)]
    _check_resume(*models, moco_batch, tmp_path / "half.weights.h5")


def _check_resume(
    whole: keras.Model, first: keras.Model, second: keras.Model, batch: object, path: Path
) -> None:
    fit(whole, batch, range(4))
    fit(first, batch, range(2))
    first.save_weights(path)
    second.load_weights(path)
    fit(second, batch, range(2, 4))
    for resumed, straight in zip(second.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(resumed, straight, err_msg=straight.path)
    for resumed, straight in zip(
        second.optimizer.variables, whole.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(resumed, straight, err_msg=straight.path)


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_keras_callbacks(name: str, tmp_path: Path) -> None:
    make, batch = TRAINED[name]
    model = make()
    history = model.fit(
        batches(batch, range(4)),
        epochs=2,
        steps_per_epoch=2,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.ModelCheckpoint(
                str(tmp_path / "best.keras"), monitor="loss", save_best_only=True
            ),
        ],
    ).history
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == pytest.approx(history["loss"])
    assert set(history) == {metric.name for metric in model.metrics}
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    best = int(np.argmin(history["loss"]))
    if best == 1:
        for ours, theirs in zip(model.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) * (best + 1) // 2


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_mixed_precision_trains_alike(name: str) -> None:
    make, batch = TRAINED[name]
    histories = []
    for policy in PRECISIONS:
        with precision(policy):
            model = make()
        histories.append(fit(model, batch, range(3))["loss"])
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert np.isfinite(histories).all()
    np.testing.assert_allclose(histories[1], histories[0], rtol=0.05)


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_every_weight_is_trainable_or_not(name: str) -> None:
    model = TRAINED[name][0]()
    parts = [*model.trainable_weights, *model.non_trainable_weights]
    assert {id(weight) for weight in parts} == {id(weight) for weight in model.weights}
    assert len(parts) == len(model.weights)

"""Checkpoints: exact, verified, one kept, a half-written one ignored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.training.checkpoint_files import STATE, WEIGHTS, is_whole, write_facts
from spice_keras.training.checkpoints import Checkpoints


def _model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def trained() -> keras.Model:
    model = _model()
    model.fit(np.eye(3), np.ones((3, 2)), epochs=2, verbose=0)
    return model


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints" / "stage")


def _weights(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]


def _folders(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "checkpoints" / "stage").iterdir())


def test_without_a_checkpoint_nothing_changes(checkpoints: Checkpoints) -> None:
    model = _model()
    before = _weights(model)
    assert checkpoints.restore(model) == (0, {})
    for old, new in zip(before, _weights(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_optimizer_and_state_come_back(
    checkpoints: Checkpoints, trained: keras.Model
) -> None:
    state = {"chosen": np.array([0.1, 2.0]), "weight_0": np.ones((2, 2), np.float32)}
    checkpoints.save(3, trained, state)
    model = _model(seed=5)
    epoch, restored = checkpoints.restore(model)
    assert epoch == 3
    assert restored.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(restored[name], array)
        assert restored[name].dtype == array.dtype
    for old, new in zip(_weights(trained), _weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(model.optimizer.iterations) == 2


def test_only_the_last_is_kept(
    tmp_path: Path, checkpoints: Checkpoints, trained: keras.Model
) -> None:
    for epoch in (9, 10, 100):  # in the order of numbers, not of letters
        checkpoints.save(epoch, trained, {})
    assert _folders(tmp_path) == ["epoch-0000100"]
    assert checkpoints.restore(_model())[0] == 100


def test_saving_an_epoch_again_replaces_it(checkpoints: Checkpoints, trained: keras.Model) -> None:
    checkpoints.save(2, _model(seed=9), {"x": np.zeros(1)})
    checkpoints.save(2, trained, {"x": np.ones(1)})
    model = _model()
    assert checkpoints.restore(model)[1]["x"] == 1.0
    np.testing.assert_array_equal(_weights(model)[0], _weights(trained)[0])


def test_what_a_killed_writer_left_is_passed_over_and_swept(
    tmp_path: Path, checkpoints: Checkpoints, trained: keras.Model
) -> None:
    checkpoints.save(2, trained, {})
    folder = tmp_path / "checkpoints" / "stage"
    for name in (".writing-0000004", "epoch-0000004"):  # neither holds its checksums
        (folder / name).mkdir()
        (folder / name / "model.npz").write_bytes(b"half")
    assert checkpoints.restore(_model())[0] == 2
    checkpoints.save(6, trained, {})
    assert _folders(tmp_path) == ["epoch-0000006"]


def _damage(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _damage(folder, "model.npz"),
        lambda folder: _damage(folder, "state.npz"),
        lambda folder: (folder / "state.npz").unlink(),
        lambda folder: (folder / "model.npz").write_bytes(b""),
        lambda folder: (folder / "checksums.json").write_text("{"),
        lambda folder: (folder / "checksums.json").write_text("{}"),
    ],
)
def test_damage_is_found_before_anything_is_loaded(
    tmp_path: Path,
    checkpoints: Checkpoints,
    trained: keras.Model,
    damage: Callable[[Path], object],
) -> None:
    checkpoints.save(2, trained, {"x": np.arange(50.0)})
    damage(tmp_path / "checkpoints" / "stage" / "epoch-0000002")
    model = _model(seed=5)
    before = _weights(model)
    with pytest.raises(UserError, match=r"epoch-0000002 is damaged, or was copied"):
        checkpoints.restore(model)
    for old, new in zip(before, _weights(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_clear_removes_them_all(
    tmp_path: Path, checkpoints: Checkpoints, trained: keras.Model
) -> None:
    checkpoints.clear()
    checkpoints.save(2, trained, {})
    checkpoints.clear()
    assert not (tmp_path / "checkpoints" / "stage").exists()
    assert checkpoints.restore(_model())[0] == 0


def test_of_two_whole_ones_the_newer_is_taken(
    tmp_path: Path, checkpoints: Checkpoints, trained: keras.Model
) -> None:
    """A kill between writing the newer and removing the older leaves both."""
    checkpoints.save(2, _model(seed=9), {})
    folder = tmp_path / "checkpoints" / "stage"
    shutil.copytree(folder / "epoch-0000002", tmp_path / "older")
    checkpoints.save(10, trained, {})
    (tmp_path / "older").rename(folder / "epoch-0000002")
    model = _model()
    assert checkpoints.restore(model)[0] == 10
    np.testing.assert_array_equal(_weights(model)[0], _weights(trained)[0])


def test_a_checkpoint_without_its_optimizer_is_refused(
    checkpoints: Checkpoints, trained: keras.Model, tmp_path: Path
) -> None:
    bare = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    checkpoints.save(3, bare, {})
    with pytest.raises(UserError, match="does not fit the model of this stage"):
        checkpoints.restore(trained)


def test_damage_with_right_checksums_is_told(
    checkpoints: Checkpoints, trained: keras.Model, tmp_path: Path
) -> None:
    for name in (WEIGHTS, STATE):
        checkpoints.save(3, trained, {"x": np.ones(3)})
        (folder,) = (tmp_path / "checkpoints" / "stage").iterdir()
        data = bytearray((folder / name).read_bytes())
        data[: len(data) // 2] = bytes(len(data) // 2)
        (folder / name).write_bytes(data)
        write_facts(folder, stage="stage", epoch=3)
        with pytest.raises(UserError, match="does not fit the model of this stage"):
            checkpoints.restore(trained)


def _leave_as_before(folder: Path, model: keras.Model) -> None:
    """Make a checkpoint of what it was before it held arrays: with a file of Keras."""
    (folder / "model.npz").unlink()
    model.save_weights(folder / "model.weights.h5")
    write_facts(folder, stage="stage", epoch=3)


def test_one_with_a_file_of_keras_is_gone_on_from(
    checkpoints: Checkpoints, trained: keras.Model, tmp_path: Path
) -> None:
    checkpoints.save(3, trained, {"x": np.ones(3)})
    (folder,) = (tmp_path / "checkpoints" / "stage").iterdir()
    _leave_as_before(folder, trained)
    assert is_whole(folder)
    model = _model(seed=5)
    assert checkpoints.restore(model)[0] == 3
    for old, new in zip(_weights(trained), _weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    _damage(folder, "model.weights.h5")
    assert not is_whole(folder)


def test_one_of_another_model_is_refused_and_nothing_is_loaded(checkpoints: Checkpoints) -> None:
    wider = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    wider.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    wider.optimizer.build(wider.trainable_variables)
    checkpoints.save(3, wider, {})
    model = _model()
    before = _weights(model)
    with pytest.raises(UserError, match="does not fit the model of this stage"):
        checkpoints.restore(model)
    for old, new in zip(before, _weights(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "float16"])
def test_low_precisions_come_back(checkpoints: Checkpoints, policy: str) -> None:
    models = []
    for seed in (0, 5):
        keras.utils.set_random_seed(seed)
        models.append(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=policy)]))
    checkpoints.save(3, models[0], {})
    assert checkpoints.restore(models[1])[0] == 3
    for old, new in zip(models[0].variables, models[1].variables, strict=True):
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new))


def test_a_model_that_counts_its_layers_anew_finds_its_own(checkpoints: Checkpoints) -> None:
    """Keras numbers the layers of a process: the names of the next one are others."""
    first, second = _model(seed=1), _model(seed=2)
    assert [v.path for v in first.variables] != [v.path for v in second.variables]
    checkpoints.save(3, first, {})
    checkpoints.restore(second)
    for old, new in zip(_weights(first), _weights(second), strict=True):
        np.testing.assert_array_equal(old, new)

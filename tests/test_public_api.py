"""What a Keras user meets: public names, saved models in a new process, data that is refused."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import spice_keras
from spice_keras.backbones.factory import build_backbone
from spice_keras.models.moco import MoCo
from spice_keras.registration import HOMES, PACKAGE
from tests.models.synthetic import (
    CLUSTERS,
    TRAINED,
    batches,
    encoder,
    fit,
    images,
    make_moco,
    make_self,
    make_semi,
    moco_batch,
    self_batch,
    unit,
)

_ROOT = Path(spice_keras.__file__).parent


def _python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | environment,
    )  # fmt: skip


# Public names


def test_every_public_name_is_there_and_documented() -> None:
    assert set(spice_keras.__all__) == set(spice_keras._HOMES)
    for name in spice_keras.__all__:
        assert getattr(spice_keras, name).__doc__, name
    assert set(spice_keras.__all__) <= set(dir(spice_keras))


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse(Path(spice_keras.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spice_keras."):
            for alias in node.names:
                if alias.name != "register_with_keras":
                    home = f"spice_keras.{spice_keras._HOMES[alias.name]}"
                    assert node.module == home or sys.modules[str(node.module)]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Moco'"):
        spice_keras.Moco  # noqa: B018


# Saved models


def test_every_class_registered_with_keras_is_listed() -> None:
    found = {}
    for path in _ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                "register_keras_serializable" in ast.unparse(one) for one in node.decorator_list
            ):
                found[node.name] = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
    assert found == HOMES


_LOAD = """
import sys
{imports}
assert not [name for name in sys.modules if name.startswith("spice_keras.models")]
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    print(type(model).__name__, getattr(model, "compiled", None))
"""


@pytest.mark.parametrize(
    "imports", ["import spice_keras, keras", "import keras, spice_keras"], ids=["before", "after"]
)
def test_saved_models_load_in_a_new_process(imports: str, tmp_path: Path) -> None:
    backbone = build_backbone("small_resnet", image_size=16, width=4)
    moco = MoCo(backbone, queue_size=16)
    moco.compile("sgd", jit_compile=False)
    models = [*(make() for make, _ in TRAINED.values()), moco, backbone]
    paths = [tmp_path / f"{number}.keras" for number in range(len(models))]
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    done = _python(_LOAD.format(imports=imports), *paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "MoCo True",
        "SpiceSelf True",
        "NeighborClustering True",
        "SemanticClustering True",
        "SpiceSemi True",
        "MoCo True",
        "Functional False",
    ]


def test_a_stand_in_gives_way_to_its_class() -> None:
    registered = keras.saving.get_registered_object(f"{PACKAGE}>MoCo")
    assert registered is MoCo
    model = make_moco()
    twin = spice_keras.registration.StandIn("MoCo").from_config(model.get_config())
    assert type(twin) is MoCo
    assert twin.get_config() == model.get_config()


# Predictions


def test_predictions_have_one_row_a_sample() -> None:
    model = make_self()
    features = self_batch(0)["weak"]
    predicted = model.predict(features, verbose=0, batch_size=16)
    assert predicted.shape == (50, 3, CLUSTERS)
    by_head = model.logits_by_head(features).numpy()
    np.testing.assert_allclose(predicted, by_head.transpose(1, 0, 2), rtol=1e-5, atol=1e-6)


def test_heads_that_own_an_encoder_read_images_and_features() -> None:
    cnn, pixels = encoder(), images(40)
    model = make_self(encoder=cnn)
    features = cnn.predict(pixels, verbose=0)
    for _ in range(2):  # in turn: neither may spoil the other's trace
        on_images = model.predict(pixels, verbose=0)
        on_features = model.predict(features, verbose=0)
        assert on_images.shape == (40, 3, CLUSTERS)
        np.testing.assert_allclose(on_images, on_features, rtol=1e-4, atol=1e-5)
    data = tf.data.Dataset.from_tensor_slices(pixels).batch(16)
    np.testing.assert_allclose(model.predict(data, verbose=0), on_images, rtol=1e-4, atol=1e-5)


def test_heads_without_an_encoder_say_what_they_read() -> None:
    with pytest.raises(ValueError, match=r"SpiceSelf takes features \[B, 16\]"):
        make_self().predict(images(4), verbose=0)


# Evaluation


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_evaluation_computes_the_training_loss_and_moves_nothing(name: str) -> None:
    make, batch = TRAINED[name]
    model = make()
    before = [np.array(weight) for weight in model.weights]
    means = model.evaluate(batches(batch, range(2)), verbose=0, return_dict=True)
    assert set(means) == {metric.name for metric in model.metrics}
    assert np.isfinite(list(means.values())).all()
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old, err_msg=weight.path)
    history = model.fit(
        batches(batch, range(2)), validation_data=batches(batch, range(1)), verbose=0
    ).history
    assert {f"val_{name}" for name in means} <= set(history)


def test_the_loss_of_neighbors_is_the_same_with_and_without_a_step() -> None:
    make, batch = TRAINED["neighbors"]
    evaluated = make().evaluate(batches(batch, range(1)), verbose=0, return_dict=True)
    assert fit(make(), batch, range(1))["loss"][0] == pytest.approx(evaluated["loss"], rel=1e-5)


# Export


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_models_are_exported_after_fit(name: str, tmp_path: Path) -> None:
    make, batch = TRAINED[name]
    model = make()
    fit(model, batch, range(1))
    model.export(tmp_path / "model", verbose=False)
    inputs = images(3) if name in ("moco", "semi") else self_batch(0)["weak"][:3]
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(inputs), model(inputs), rtol=1e-4, atol=1e-5)


def test_heads_that_own_an_encoder_are_exported_for_images(tmp_path: Path) -> None:
    model = make_self(encoder=encoder())
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(images(3)), model(images(3)), rtol=1e-4, atol=1e-5)


# Refusals


_PAIR = {"query": images(8), "key": images(8)}
_REFUSED: dict[str, tuple[Callable[[MoCo], Any], str]] = {
    "array": (lambda m: m.fit(images(8)), r"one array of shape \(8, 8, 8, 3\)"),
    "labels": (lambda m: m.fit(_PAIR, np.zeros(8)), "`y` beside the batches"),
    "list": (lambda m: m.fit([images(8)] * 2), "a list"),
    "part": (lambda m: m.fit({"query": images(8)}), r"without \['key'\]"),
    "floats": (lambda m: m.fit({**_PAIR, "key": images(8) / 255}), "key of dtype float64"),
    "tuples": (lambda m: m.fit(tf.data.Dataset.from_tensors((images(8),) * 2)), "a tuple"),
    "generator": (
        lambda m: m.fit(
            ((images(8), images(8)) for _ in range(2)), steps_per_epoch=1, shuffle=False
        ),
        "a tuple",
    ),
    "one batch": (lambda m: m.train_on_batch(images(8)), "a tuple"),
    "evaluate": (lambda m: m.evaluate(images(8)), "one array"),
    "validation": (lambda m: m.fit(_PAIR, validation_data=images(8)), "one array"),
    "split": (lambda m: m.fit(_PAIR, validation_split=0.5), "validation_split=0.5"),
    "loss": (lambda m: m.compile("sgd", loss="mse"), "loss='mse'"),
    "metrics": (lambda m: m.compile("sgd", metrics=["accuracy"]), "metrics="),
}


@pytest.mark.parametrize("case", sorted(_REFUSED))
def test_what_is_refused_leaves_the_model_as_it_was(case: str) -> None:
    call, words = _REFUSED[case]
    model, twin = (MoCo(encoder(), queue_size=20, projection_dim=8) for _ in range(2))
    for one in (model, twin):
        one.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    with pytest.raises(ValueError, match=words) as caught:
        call(model)
    if case not in ("loss", "metrics", "split"):
        assert "spice_keras.views.moco_views" in str(caught.value)
    histories = [fit(one, moco_batch, range(2)) for one in (model, twin)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_the_function_that_a_refusal_names_exists(name: str) -> None:
    model = TRAINED[name][0]()
    module, function = model.views_function.rsplit(".", 1)
    assert module == "spice_keras.views"
    assert callable(getattr(spice_keras.views, function))


def test_another_loss_is_not_kept_when_it_is_refused() -> None:
    model = make_semi()
    optimizer = model.optimizer
    with pytest.raises(ValueError, match="compile it with an optimizer alone"):
        model.compile("adam", loss="mse")
    assert model.optimizer is optimizer


# Another backend


@pytest.mark.parametrize(
    "code",
    [
        "from spice_keras import MoCo",
        "from spice_keras import run_all",
        "import spice_keras.models.moco",
        "from spice_keras.runtime import start_tensorflow; start_tensorflow()",
    ],
)
def test_another_backend_is_refused_with_the_reason(code: str) -> None:
    report = "import sys\ntry:\n    {}\nfinally:\n    print('keras' in sys.modules)"
    done = _python(report.format(code), KERAS_BACKEND="jax")
    assert done.returncode == 1
    assert "needs Keras on TensorFlow" in done.stderr
    assert "'jax', from the environment variable KERAS_BACKEND" in done.stderr
    assert done.stdout.strip() == "False"


def test_the_command_refuses_another_backend(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = f"from spice_keras.cli import main; main(['run', '--run-dir', {str(folder)!r}])"
    done = _python(code, KERAS_BACKEND="jax")
    assert done.returncode == 2
    assert "\nError: spice_keras needs Keras on TensorFlow" in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert not folder.exists()


def test_a_backend_named_in_keras_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    code = "from spice_keras import MoCo"
    done = _python(code, KERAS_BACKEND="", KERAS_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"'jax', from {tmp_path / 'keras.json'}" in done.stderr


def test_the_environment_goes_before_keras_json(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    code = "from spice_keras.runtime import refuse_other_backend; refuse_other_backend()"
    done = _python(code, KERAS_BACKEND="tensorflow", KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


# Own choice of a head


def test_heads_are_chosen_by_a_callback_in_fit() -> None:
    features = self_batch(0)["weak"]
    model = make_self()
    selection = spice_keras.HeadSelection(
        features, lambda logits: spice_keras.head_losses(unit(features), logits, 0.5)
    )
    data = spice_keras.self_feature_views(features, batch_size=50)
    history = model.fit(data, epochs=2, verbose=0, callbacks=[selection]).history
    assert selection.choice.epoch in (0, 1)
    assert selection.choice.loss == min(min(losses) for losses in history["head_losses"])

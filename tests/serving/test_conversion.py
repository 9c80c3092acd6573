"""Other formats: each file is asked by a client in a process of its own, and says the same."""

from __future__ import annotations

import importlib.util
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from spice_keras import extras
from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.errors import UserError
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.models.clusterer import build_clusterer, embedding_clusterer
from spice_keras.serving.asked_formats import Wanted, refuse_impossible
from spice_keras.serving.conversion import ask_client, convert, loads_alone
from spice_keras.serving.plain_model import foreign_packages, plain_clusterer
from tests.models.synthetic import CLUSTERS, FEATURES, blobs, clusterer, encoder, images

_MODULES = {
    "keras": [], "litert": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnx", "onnxruntime"],
    "openvino": ["openvino"],
}  # fmt: skip


def _head(space: FeatureSpace) -> keras.Model:
    heads = MultiHeadClassifier(2, CLUSTERS, seed=4, input_scale=space)
    heads.build((None, FEATURES))
    return heads.head_model(1)


def _centered() -> FeatureSpace:
    center = np.random.default_rng(0).uniform(0.0, 0.3, FEATURES).astype(np.float32)
    return FeatureSpace("root-center", center)


@pytest.fixture(scope="module", autouse=True)
def _full_precision() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def plain() -> keras.Model:
    return plain_clusterer(build_clusterer(encoder(), _head(_centered())), unsure_below=0.4)


@pytest.mark.parametrize("space", [FeatureSpace(), FeatureSpace("unit"), _centered()])
def test_a_plain_model_says_the_same(space: FeatureSpace) -> None:
    model = build_clusterer(encoder(), _head(space))
    rebuilt = plain_clusterer(model, unsure_below=0.4)
    assert foreign_packages(rebuilt) == set()
    given = images(20)
    expected, found = model(given), rebuilt(given)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    np.testing.assert_array_equal(found["unsure"], expected["confidence"] < 0.4)
    order = np.argsort(-expected["probabilities"].numpy(), axis=1)
    np.testing.assert_array_equal(found["second_choice"], order[:, 1])
    assert rebuilt.inputs[0].name == "pixels"


def _skip_without(wanted: Wanted) -> None:
    # Not imported here: the converter decides what OpenVINO brings along.
    if any(importlib.util.find_spec(module) is None for module in _MODULES[wanted.format]):
        pytest.skip(f"the extra {wanted.format} is not installed")


@pytest.mark.integration
@pytest.mark.parametrize(
    "wanted",
    [Wanted(name) for name in _MODULES]
    + [Wanted("litert", "float16"), Wanted("onnx", "float16"), Wanted("openvino", "float16")]
    + [Wanted("litert", "int8")],
    ids=lambda wanted: wanted.folder,
)
def test_a_client_of_each_format_hears_the_same(
    wanted: Wanted, plain: keras.Model, tmp_path: Path
) -> None:
    _skip_without(wanted)
    given = images(20, seed=3)
    assert loads_alone(plain)
    convert(plain, wanted, tmp_path, given)
    # A file that names the folder it was made in is another one each time.
    assert tempfile.gettempdir().encode() not in (tmp_path / wanted.file).read_bytes()
    found = ask_client(wanted, tmp_path / wanted.file, given, alone=True)
    expected = plain.predict(given, verbose=0)
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
        assert value.shape == expected[name].shape, name
    tolerance = {"float32": 1e-4, "float16": 1e-2, "int8": 0.1}[wanted.precision]
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=tolerance)
    if wanted.precision == "float32":
        np.testing.assert_array_equal(found["cluster"], expected["cluster"])
        np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=1e-4)


@pytest.mark.integration
def test_a_model_of_embeddings_too(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
    model = plain_clusterer(embedding_clusterer(_head(FeatureSpace("unit"))), unsure_below=0.4)
    rows, _ = blobs(30)
    convert(model, Wanted("litert"), tmp_path, rows)
    found = ask_client(Wanted("litert"), tmp_path / "model.tflite", rows, alone=True)
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)


@pytest.mark.integration
def test_a_file_that_does_not_load_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"not a model")
    with pytest.raises(RuntimeError, match="The keras file does not load"):
        ask_client(Wanted("keras"), tmp_path / "model.keras", images(1), alone=True)


def test_a_converter_that_fails_is_a_users_error(tmp_path: Path) -> None:
    class Foreign(keras.layers.Layer):
        def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
            return x

        def get_config(self) -> dict[str, object]:
            raise ValueError("it cannot be written")

    inputs = keras.Input((3,))
    model = keras.Model(inputs, {"cluster": Foreign()(inputs)})
    with pytest.raises(UserError, match=r"as keras in float32: .*it cannot be written"):
        convert(model, Wanted("keras"), tmp_path, np.zeros((1, 3), np.float32))


def test_room_is_looked_for_before_a_converter_begins(
    plain: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            convert(plain, Wanted("keras"), tmp_path, images(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"/gone, cannot take the 3 MiB .* variable TMPDIR"):
        convert(plain, Wanted("keras"), tmp_path, images(1))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"written in float32\. .* int8, which litert can have"):
        refuse_impossible(Wanted("keras", "int8"))
    refuse_impossible(Wanted("savedmodel"))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    for name in ("litert", "onnx", "openvino"):
        with pytest.raises(UserError, match=rf"spice-keras\[{name}\]"):
            refuse_impossible(Wanted(name))  # type: ignore[arg-type]


def test_the_clusterer_of_the_other_tests_is_plain_too() -> None:
    assert foreign_packages(plain_clusterer(clusterer(), unsure_below=0.0)) == set()

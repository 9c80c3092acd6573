"""Safety: a graph that could do more than compute is refused before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

from spice_keras.errors import UserError
from spice_keras.serving.safety import _is_unsafe, refuse_unsafe, unsafe_operations


def _saved(folder: Path, act: Callable[[tf.Tensor], object]) -> Path:
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")], autograph=False)
        def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"cluster": tf.strings.length(tf.convert_to_tensor(act(images)))}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures={"images": module.images})
    return folder


def _write(images: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file("stolen", "x")]):
        return tf.identity(images)


def _hidden(images: tf.Tensor) -> tf.Tensor:
    """A file is read inside a function inside a branch of a map."""
    return tf.map_fn(
        lambda one: tf.cond(one == "a", lambda: tf.io.read_file("secret"), lambda: one), images
    )


def _print(images: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.print("x", output_stream="file://stolen")]):
        return tf.identity(images)


_ACTS: dict[str, Callable[[tf.Tensor], object]] = {
    "WriteFile": _write,
    "ReadFile": _hidden,
    "MatchingFiles": lambda images: tf.io.matching_files("/*"),
    "PrintV2": _print,
    "EagerPyFunc": lambda images: tf.py_function(lambda given: given, [images], tf.string),
    "PyFunc": lambda images: tf.numpy_function(lambda given: given, [images], tf.string),
    "TextLineDataset": lambda images: (
        tf.data.TextLineDataset("secret").batch(9).get_single_element()
    ),
}


@pytest.mark.parametrize("operation", _ACTS)
def test_effects_are_refused(operation: str, tmp_path: Path) -> None:
    model = _saved(tmp_path, _ACTS[operation])
    assert operation in unsafe_operations(model)
    with pytest.raises(UserError, match=rf"{operation}.* use --trust if you know who made it"):
        refuse_unsafe(model)


def test_an_operation_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path, tf.identity)
    assert unsafe_operations(tmp_path) == set()
    path = tmp_path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "StringLength":
                node.op = "MyOwnKernel"
    path.write_bytes(saved.SerializeToString())
    assert unsafe_operations(tmp_path) == {"MyOwnKernel"}


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\xff\xff\xff\xff\x0f")
    with pytest.raises(UserError, match="its graph is damaged"):
        refuse_unsafe(tmp_path)


def test_what_is_exported_is_safe(exported: Path) -> None:
    refuse_unsafe(exported / "1")


def test_no_operation_of_files_or_networks_passes() -> None:
    """Of everything that this TensorFlow has: a new one that sounds like it must be looked at."""
    every = op_def_pb2.OpList()
    every.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    words = ("File", "PyFunc", "Save", "Restore", "Rpc", "Checkpoint", "Summary", "Remote", "Proto")
    passing = [op.name for op in every.op if not _is_unsafe(op.name)]
    assert [name for name in passing if any(word in name for word in words)] == []
    assert len(passing) > 500

"""A clusterer as a file of another runtime: Keras, LiteRT, ONNX, OpenVINO; checked by a client."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.errors import UserError
from spice_keras.files import reserve, storage_problem
from spice_keras.options import ExportFormat
from spice_keras.runtime import stderr_held_back
from spice_keras.serving import client
from spice_keras.serving.asked_formats import Wanted
from spice_keras.serving.plain_model import foreign_packages
from spice_keras.serving.quantization import FEWEST_CONVOLUTIONS, quantized
from spice_keras.training.checkpoints import model_bytes

_OPSET = 17
_CLIENT_SECONDS = 900
_GRAPH_BYTES = 2**21  # of a graph without its weights; that of EfficientNet-Lite0 takes 1 MB


def convert(model: keras.Model, wanted: Wanted, folder: Path, items: np.ndarray) -> None:
    """Write a clusterer in another format.

    Args:
        model: From `plain_clusterer`.
        wanted: The format and the precision.
        folder: An empty folder.
        items: Typical inputs, by which int8 is calibrated: uint8 [n, S, S, 3] or float32 [n, D].

    Raises:
        OSError: If there is no room in the folder.
        UserError: If there is none for temporary files, or the converter cannot write this model;
            what it said is in the message.
    """
    _look_for_room(model, folder)
    try:
        with _quiet(), stderr_held_back():
            _CONVERTERS[wanted.format](model, wanted, folder, items)
    except (OSError, UserError):
        raise
    except Exception as error:  # each converter raises what it likes
        said = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(
            f"This model cannot be written as {wanted.format} in {wanted.precision}: {said}"
        ) from error


def _look_for_room(model: keras.Model, folder: Path) -> None:
    """Begin nothing without room: converters have words of their own for a full disk, or none."""
    needed = model_bytes(model) + _GRAPH_BYTES
    reserve(folder, needed)
    scratch = Path(tempfile.gettempdir())
    try:
        reserve(scratch, needed)
    except OSError as error:
        raise UserError(
            f"The folder of temporary files, {scratch}, cannot take the "
            f"{math.ceil(needed / 2**20)} MiB that a conversion writes: "
            f"{storage_problem(error) or error}. Make room there, or name another folder by the "
            "environment variable TMPDIR, then export again."
        ) from error


def ask_client(wanted: Wanted, file: Path, items: np.ndarray, *, alone: bool) -> dict[str, Any]:
    """Load a written file in a process of its own and ask it.

    Args:
        wanted: What was written.
        file: The file.
        items: Inputs, as in `convert`.
        alone: Whether the process does without this package.

    Returns:
        The outputs by name, arrays of n rows.

    Raises:
        RuntimeError: If the file does not load, or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "items.npy", Path(folder) / "answers.npz"
        np.save(source, items, allow_pickle=False)
        request = {
            "model": str(file.resolve()),
            "items": str(source),
            "answers": str(target),
            "with_package": not alone,
        }
        done = subprocess.run(
            [sys.executable, str(Path(client.__file__).resolve()), wanted.format],
            input=json.dumps(request) + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=_CLIENT_SECONDS,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if done.returncode:
            raise RuntimeError(f"The {wanted.format} file does not load:\n{done.stderr[-2000:]}")
        with np.load(target, allow_pickle=False) as found:
            return dict(found)


def loads_alone(model: keras.Model) -> bool:
    """Tell whether a Keras file of this model loads without this package."""
    return "spice_keras" not in foreign_packages(model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the loggers and warnings of the converters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _spec(model: keras.Model) -> tf.TensorSpec:
    (given,) = model.inputs
    return tf.TensorSpec(given.shape, given.dtype, given.name)


def _graph(model: keras.Model, folder: Path) -> None:
    """Write the one function of a model as a SavedModel, for converters that read those."""
    archive = keras.export.ExportArchive()
    name = model.inputs[0].name
    archive.add_endpoint(name, lambda given: model(given, training=False), [_spec(model)])
    archive.write_out(str(folder), verbose=False)


def _to_keras(model: keras.Model, wanted: Wanted, folder: Path, items: np.ndarray) -> None:
    model.save(folder / wanted.file)


def _to_litert(model: keras.Model, wanted: Wanted, folder: Path, items: np.ndarray) -> None:
    name = model.inputs[0].name
    with tempfile.TemporaryDirectory() as graph:
        _graph(model, Path(graph))
        if wanted.precision == "int8":
            content = quantized(Path(graph), name, items)
        else:
            converter = tf.lite.TFLiteConverter.from_saved_model(graph, signature_keys=[name])
            if wanted.precision == "float16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            content = converter.convert()
    (folder / wanted.file).write_bytes(content)


def _to_onnx(model: keras.Model, wanted: Wanted, folder: Path, items: np.ndarray) -> None:
    import onnx
    import tf2onnx

    spec = _spec(model)
    function = tf.function(lambda given: model(given, training=False), [spec], autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, [spec], opset=_OPSET)
    _name_batch(proto)
    if wanted.precision == "float16":
        proto = _halved(proto)
    onnx.checker.check_model(proto)
    onnx.save(proto, folder / wanted.file)


def _name_batch(proto: Any) -> None:
    """Give the first axis of every input and output one name."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _halved(proto: Any) -> Any:
    """An ONNX model with weights and activations of 16 bits, its head in 32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = convert_float_to_float16(proto, keep_io_types=True, node_block_list=_head(proto))
    sorted_model = OnnxModel(half)  # the converter leaves some of its nodes out of order
    sorted_model.topological_sort()
    return sorted_model.model


def _head(proto: Any) -> list[str]:
    """Names of the nodes after the last convolution: lengths and logits need all their digits."""
    nodes = list(proto.graph.node)
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    if len(convolutions) < FEWEST_CONVOLUTIONS:  # a transformer, or a model of embeddings
        return []
    return [node.name for node in nodes[convolutions[-1] + 1 :]]


def _to_openvino(model: keras.Model, wanted: Wanted, folder: Path, items: np.ndarray) -> None:
    # The converter reports each call to its makers; without this module it has nothing to do so.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    with tempfile.TemporaryDirectory() as beside:
        _graph(model, Path(beside))
        half = wanted.precision == "float16"
        converted = openvino.convert_model(beside)
        # Else the file names the folder that it was converted in, and differs each time.
        converted.set_rt_info("saved_model", ["conversion_parameters", "input_model"])
        openvino.save_model(converted, str(folder / wanted.file), compress_to_fp16=half)


_CONVERTERS: dict[ExportFormat, Callable[[keras.Model, Wanted, Path, np.ndarray], None]] = {
    "keras": _to_keras,
    "litert": _to_litert,
    "onnx": _to_onnx,
    "openvino": _to_openvino,
}

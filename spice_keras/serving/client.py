"""A client of an exported file, in a process of its own: the runtime of its format, and NumPy.

Run as a file, not as a module: `python client.py FORMAT`. It reads one line of JSON (the paths of
the model, of the items and of the answers to write, and whether spice_keras may be imported), and
needs nothing of the package beside this file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

_ROWS = 8
_THREADS = 2
Answers = dict[str, np.ndarray]
Asked = Callable[[np.ndarray], Answers]


def _litert(model: str) -> Asked:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model, num_threads=_THREADS).get_signature_runner()
    (name,) = runner.get_input_details()
    return lambda items: dict(runner(**{name: items}))


def _onnx(model: str) -> Asked:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = _THREADS, 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = session.get_inputs()[0].name
    return lambda items: dict(zip(names, session.run(names, {given: items}), strict=True))


def _openvino(model: str) -> Asked:
    import openvino

    # The processor's bfloat16 would blur a comparison with float32.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(_THREADS)}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda items: {
        output.any_name: np.array(value) for output, value in compiled(items).items()
    }


def _keras(model: str) -> Asked:
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    loaded = keras.models.load_model(model, compile=False)

    def ask(items: np.ndarray) -> Answers:
        outputs: dict[str, Any] = loaded(items, training=False)
        return {name: np.asarray(value) for name, value in outputs.items()}

    return ask


_CLIENTS: dict[str, Callable[[str], Asked]] = {
    "litert": _litert,
    "onnx": _onnx,
    "openvino": _openvino,
    "keras": _keras,
}


def opened(name: str, model: str) -> Asked:
    """Load an exported file with the runtime of its format.

    Args:
        name: The format: litert, onnx, openvino or keras.
        model: The file.

    Returns:
        A function of items, uint8 [n, S, S, 3] or float32 [n, D], to the model's outputs by name.
    """
    ask = _CLIENTS[name](model)

    def in_parts(items: np.ndarray) -> Answers:
        parts = [ask(items[start : start + _ROWS]) for start in range(0, len(items), _ROWS)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    return in_parts


if __name__ == "__main__":
    request = json.loads(sys.stdin.readline())
    if not request["with_package"]:
        sys.modules["spice_keras"] = None  # type: ignore[assignment]
    answers = opened(sys.argv[1], request["model"])(np.load(request["items"], allow_pickle=False))
    np.savez(request["answers"], **answers)  # type: ignore[arg-type]

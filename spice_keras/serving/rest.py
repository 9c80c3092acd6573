"""TensorFlow Serving's REST protocol: bodies to arrays, and answers to bodies."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from spice_keras.data.decoding import FORMATS
from spice_keras.data.quiet_pillow import quiet_pillow
from spice_keras.options import ServiceLimits

_MOST_SHOWN = 80


class BadRequest(Exception):
    """A request that cannot be answered; its message is for the client.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Signature:
    """What an endpoint takes and gives.

    Attributes:
        name: Its name.
        input_name: Its one input.
        dtype: "string", "uint8" or "float32".
        shape: Of the input, the batch first; None for any length.
        outputs: Dtype and shape of each output, by name.
    """

    name: str
    input_name: str
    dtype: str
    shape: tuple[int | None, ...]
    outputs: Mapping[str, tuple[str, tuple[int | None, ...]]]


@dataclass(frozen=True)
class Question:
    """A request, read.

    Attributes:
        signature: The endpoint that is asked.
        items: bytes in an object array [n], or numbers [n, ...].
        failed: Why an item is not even shown to the model, by its row.
        by_row: Whether the answer is wanted row by row.
    """

    signature: Signature
    items: np.ndarray
    failed: Mapping[int, str]
    by_row: bool


def read_question(
    body: bytes, signatures: Mapping[str, Signature], limits: ServiceLimits
) -> Question:
    """Read the body of a request.

    Args:
        body: JSON with `instances` or `inputs`, and `signature_name` if it is another one than
            serving_default.
        signatures: The endpoints of the model.
        limits: What is too much.

    Returns:
        The question.

    Raises:
        BadRequest: If it is malformed, or asks for too much.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {_short(error)}.") from error
    if not isinstance(content, dict):
        raise BadRequest("The body must be a JSON object with `instances` or `inputs`.")
    name = content.get("signature_name", "serving_default")
    if not isinstance(name, str) or name not in signatures:
        known = ", ".join(sorted(signatures))
        raise BadRequest(f"There is no signature {_short(name)}; the signatures are {known}.")
    by_row = "instances" in content
    if by_row == ("inputs" in content):
        raise BadRequest("Give either `instances`, a list of rows, or `inputs`, one array a name.")
    signature = signatures[name]
    values = _rows(content["instances" if by_row else "inputs"], signature, by_row=by_row)
    if len(values) > limits.items:
        raise BadRequest(f"{len(values)} items at once; at most {limits.items} are taken.", 413)
    if signature.dtype == "string":
        items, failed = _files(values, limits)
    else:
        items, failed = _numbers(values, signature, limits), {}
    return Question(signature, items, failed, by_row)


def _rows(given: Any, signature: Signature, *, by_row: bool) -> list[Any]:
    """The values of the one input, row by row."""
    name = signature.input_name
    wrong = BadRequest(f"The signature {signature.name} has one input, `{name}`.")
    if by_row and isinstance(given, list):
        rows = []
        for row in given:
            named = isinstance(row, dict) and "b64" not in row
            if named and set(row) != {name}:
                raise wrong
            rows.append(row[name] if named else row)
        return rows
    if not by_row and isinstance(given, dict) and "b64" not in given:
        if set(given) != {name}:
            raise wrong
        given = given[name]
    if not isinstance(given, list):
        raise BadRequest(f"`{name}` must be a list, one entry an item.")
    return given


def _files(values: list[Any], limits: ServiceLimits) -> tuple[np.ndarray, dict[int, str]]:
    """The bytes of encoded images, and why some are not shown to the model."""
    items = np.empty(len(values), object)
    failed = {}
    for row, value in enumerate(values):
        items[row] = _bytes(value, row)
        reason = _too_large(items[row], limits.pixels)
        if reason:
            failed[row], items[row] = reason, b""
    return items, failed


def _bytes(value: Any, row: int) -> bytes:
    if not isinstance(value, dict) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise BadRequest(f'Item {row} must be {{"b64": TEXT}}, the base64 text of an image file.')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"Item {row} is not base64: {_short(error)}.") from error


def _too_large(data: bytes, most: int) -> str:
    """Why the header of a file tells against decoding it; "" if nothing does."""
    if not data:
        return ""
    try:
        with quiet_pillow(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # a damaged header makes Pillow raise nearly anything
        return "damaged, or not an image of a known format"
    if width * height > most:
        return f"too large: {width} x {height} pixels, more than the limit of {most:,}"
    return ""


def _numbers(values: list[Any], signature: Signature, limits: ServiceLimits) -> np.ndarray:
    """Numbers of the signature's type and shape."""
    try:
        found = np.array(values)
    except (ValueError, OverflowError) as error:  # rows of different lengths
        raise BadRequest(f"`{signature.input_name}` must be rows of one shape.") from error
    expected = f"{signature.dtype} of shape {_shape(signature.shape)}"
    if not len(values):
        found = np.zeros([size or 0 for size in signature.shape], signature.dtype)
    sizes = zip(found.shape, signature.shape, strict=False)
    fits = found.ndim == len(signature.shape) and all(want in (None, size) for size, want in sizes)
    if found.dtype.kind not in "iuf" or not fits:
        raise BadRequest(f"`{signature.input_name}` must be {expected}, not {found.shape}.")
    if found.size > 3 * limits.pixels:
        raise BadRequest(f"More than {limits.pixels:,} pixels at once.", 413)
    if signature.dtype == "uint8":
        if len(values) and (0 in found.shape or found.dtype.kind == "f"):
            raise BadRequest(f"`{signature.input_name}` must be whole numbers, {expected}.")
        if found.size and (found.min() < 0 or found.max() > 255):
            raise BadRequest(f"`{signature.input_name}` must lie in 0..255.")
    elif not np.isfinite(found).all() or np.abs(found).max(initial=0.0) > 1e30:
        raise BadRequest(f"`{signature.input_name}` must be finite numbers.")
    return found.astype(signature.dtype)


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def answer_body(outputs: Mapping[str, np.ndarray], question: Question) -> bytes:
    """Put a model's outputs into the body of an answer.

    Args:
        outputs: Arrays of n rows, by name; texts as bytes.
        question: What was asked.

    Returns:
        JSON: `predictions` row by row, or `outputs` by name.
    """
    lists = {name: _plain(values) for name, values in outputs.items()}
    for row, reason in question.failed.items():
        if "error" in lists:
            lists["error"][row] = reason
    if not question.by_row:
        return json.dumps({"outputs": lists}).encode()
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return json.dumps({"predictions": rows}).encode()


def _plain(values: np.ndarray) -> list[Any]:
    if values.dtype == object:
        return [text.decode("utf-8", "replace") for text in values]
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)  # JSON has no NaN
    plain: list[Any] = values.tolist()
    return plain


def metadata_body(name: str, version: int, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """Describe a model as TensorFlow Serving does.

    Args:
        name: The model.
        version: Its version.
        signatures: Its endpoints.

    Returns:
        What is sent as JSON.
    """
    described = {
        each.name: {
            "inputs": {each.input_name: _tensor(each.input_name, each.dtype, each.shape)},
            "outputs": {key: _tensor(key, *value) for key, value in each.outputs.items()},
            "method_name": "tensorflow/serving/predict",
        }
        for each in signatures.values()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": described}},
    }


_DT = {"float32": "DT_FLOAT", "int32": "DT_INT32", "uint8": "DT_UINT8", "bool": "DT_BOOL"}


def _tensor(name: str, dtype: str, shape: tuple[int | None, ...]) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in shape]
    return {
        "dtype": _DT.get(dtype, "DT_STRING"),
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{name}:0",
    }

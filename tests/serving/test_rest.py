"""TensorFlow Serving's protocol: what is read, what is refused, and that nothing else happens."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from spice_keras.options import ServiceLimits
from spice_keras.serving.rest import (
    BadRequest,
    Signature,
    answer_body,
    metadata_body,
    read_question,
)
from tests.serving.image_files import encoded, picture

_OUTPUTS = {"cluster": ("int32", (None,)), "error": ("string", (None,))}
SIGNATURES = {
    "serving_default": Signature("serving_default", "encoded_images", "string", (None,), _OUTPUTS),
    "images": Signature("images", "images", "uint8", (None, None, None, 3), _OUTPUTS),
    "pixels": Signature("pixels", "pixels", "uint8", (None, 2, 2, 3), _OUTPUTS),
    "rows": Signature("rows", "embeddings", "float32", (None, 3), _OUTPUTS),
}
LIMITS = ServiceLimits(items=8, pixels=10_000)
_PNG = encoded(picture(), "PNG")
_B64 = {"b64": base64.b64encode(_PNG).decode()}
_SQUARE = np.arange(12).reshape(2, 2, 3).tolist()


def _read(content: Any) -> Any:
    return read_question(json.dumps(content).encode(), SIGNATURES, LIMITS)


@pytest.mark.parametrize(
    "content",
    [
        {"instances": [_B64, _B64]},
        {"instances": [{"encoded_images": _B64}, _B64]},
        {"inputs": [_B64, _B64]},
        {"inputs": {"encoded_images": [_B64, _B64]}, "signature_name": "serving_default"},
    ],
)
def test_the_ways_to_send_files(content: Any) -> None:
    question = _read(content)
    assert question.items.tolist() == [_PNG, _PNG]
    assert question.by_row == ("instances" in content)
    assert not question.failed


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_the_ways_to_send_numbers(key: str) -> None:
    found = _read({key: [_SQUARE, _SQUARE], "signature_name": "pixels"}).items
    assert found.dtype == np.uint8
    assert found.tolist() == [_SQUARE, _SQUARE]
    found = _read({key: [[1, 2.5, -3]], "signature_name": "rows"}).items
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, 2.5, -3.0]]


def test_no_items_are_fine() -> None:
    assert _read({"instances": []}).items.shape == (0,)
    assert _read({"instances": [], "signature_name": "pixels"}).items.shape == (0, 2, 2, 3)


_WRONG: list[tuple[Any, str]] = [
    (3, "must be a JSON object"),
    ([], "must be a JSON object"),
    ({}, "either `instances`"),
    ({"instances": [], "inputs": []}, "either `instances`"),
    ({"instances": 3}, "must be a list"),
    ({"instances": {"a": 1}}, "must be a list"),
    ({"instances": [], "signature_name": "other"}, "There is no signature other; the signatures"),
    ({"instances": [], "signature_name": ["images"]}, "There is no signature"),
    ({"instances": ["text"]}, "Item 0 must be"),
    ({"instances": [{"b64": 3}]}, "Item 0 must be"),
    ({"instances": [{"b64": "@@@"}]}, "Item 0 is not base64"),
    ({"instances": [{"b64": "ä"}]}, "Item 0 is not base64"),
    ({"instances": [{"image": _B64}]}, "one input, `encoded_images`"),
    ({"inputs": {"image": [_B64]}}, "one input, `encoded_images`"),
    ({"instances": [_SQUARE, [1]], "signature_name": "pixels"}, "rows of one shape"),
    ({"instances": [[1, 2]], "signature_name": "pixels"}, "must be uint8 of shape"),
    ({"instances": ["a"], "signature_name": "rows"}, "must be float32 of shape"),
    ({"instances": [[True, False, True]], "signature_name": "rows"}, "must be float32 of shape"),
    ({"instances": [[1, 2, float("nan")]], "signature_name": "rows"}, "must be finite"),
    ({"instances": [[1, 2, 1e300]], "signature_name": "rows"}, "must be finite"),
    ({"instances": [[1, 2, 10**30]], "signature_name": "rows"}, "must be"),
    ({"instances": [[[[0, 0, 256]]]], "signature_name": "images"}, "must lie in 0..255"),
    ({"instances": [[[[0, 0, -1]]]], "signature_name": "images"}, "must lie in 0..255"),
    ({"instances": [[[[0, 0, 0.5]]]], "signature_name": "images"}, "must be whole numbers"),
]


@pytest.mark.parametrize(("content", "message"), _WRONG, ids=range(len(_WRONG)))
def test_what_is_wrong_is_said(content: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as caught:
        _read(content)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 300


def test_too_much_is_refused() -> None:
    with pytest.raises(BadRequest, match="9 items at once; at most 8") as caught:
        _read({"instances": [_B64] * 9})
    assert caught.value.status == 413
    wide = np.zeros((1, 101, 100, 3), int).tolist()
    with pytest.raises(BadRequest, match="More than 10,000 pixels") as caught:
        _read({"instances": wide, "signature_name": "images"})
    assert caught.value.status == 413


def test_a_file_of_too_many_pixels_is_not_shown_to_the_model() -> None:
    large = {"b64": base64.b64encode(encoded(picture(101, 100), "PNG")).decode()}
    question = _read({"instances": [_B64, large, {"b64": ""}]})
    assert question.items.tolist() == [_PNG, b"", b""]
    assert question.failed == {1: "too large: 100 x 101 pixels, more than the limit of 10,000"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000]
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_question(body, SIGNATURES, LIMITS)


def test_ten_thousand_broken_bodies_are_answered_or_refused() -> None:
    """Bytes of right bodies changed, cut, doubled: never another exception."""
    bodies = [
        json.dumps(content).encode()
        for content in (
            {"instances": [{"b64": _B64["b64"][:200]}]},
            {"inputs": {"pixels": [_SQUARE]}, "signature_name": "pixels"},
            {"instances": [[1, 2, 3]], "signature_name": "rows"},
            {"instances": [{"images": _SQUARE}], "signature_name": "images"},
        )
    ]
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b'{}[]",:0129eE.-+truefalsnN\\ub64 \x00\xff', np.uint8)
    refused = 0
    for _ in range(10_000):
        body = bytearray(bodies[rng.integers(len(bodies))])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(body)))
            match rng.integers(4):
                case 0:
                    body[at] = rng.choice(alphabet)
                case 1:
                    del body[at : at + int(rng.integers(1, 30))]
                case 2:
                    body.insert(at, rng.choice(alphabet))
                case 3:
                    body[at:at] = body[at : at + int(rng.integers(1, 30))]
            body = body or bytearray(b" ")
        try:
            read_question(bytes(body), SIGNATURES, LIMITS)
        except BadRequest as error:
            refused += error.status in (400, 413)
    assert 5_000 < refused < 10_000


def test_answers_by_row_and_by_name() -> None:
    outputs = {
        "cluster": np.array([1, -1], np.int32),
        "confidence": np.array([0.5, np.nan], np.float32),
        "error": np.array([b"", b"damaged"], object),
        "unsure": np.array([False, True]),
    }
    question = _read({"instances": [_B64, {"b64": ""}]})
    rows = json.loads(answer_body(outputs, question))["predictions"]
    assert rows == [
        {"cluster": 1, "confidence": 0.5, "error": "", "unsure": False},
        {"cluster": -1, "confidence": 0.0, "error": "damaged", "unsure": True},
    ]
    question = _read({"inputs": [_B64, {"b64": ""}]})
    assert json.loads(answer_body(outputs, question))["outputs"]["cluster"] == [1, -1]


def test_metadata_is_that_of_tensorflow_serving() -> None:
    told = metadata_body("photos", 3, SIGNATURES)
    assert told["model_spec"] == {"name": "photos", "signature_name": "", "version": "3"}
    pixels = told["metadata"]["signature_def"]["signature_def"]["pixels"]
    assert pixels["inputs"]["pixels"]["dtype"] == "DT_UINT8"
    assert [one["size"] for one in pixels["inputs"]["pixels"]["tensor_shape"]["dim"]] == [
        "-1", "2", "2", "3"
    ]  # fmt: skip
    assert pixels["outputs"]["error"]["dtype"] == "DT_STRING"

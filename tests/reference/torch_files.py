"""Writes PyTorch checkpoints opcode by opcode, from the format's description: no PyTorch needed."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
VERSION = pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)


class Tensor(NamedTuple):
    """A tensor to write: a view, by PyTorch's strides, of a storage of numbers."""

    storage: np.ndarray
    shape: Sequence[int]
    strides: Sequence[int]
    offset: int = 0
    type_name: str = "FloatStorage"
    key: str = ""
    claimed_items: int | None = None


def dense(array: np.ndarray, type_name: str = "FloatStorage") -> Tensor:
    """An array in C order."""
    strides = [stride // array.itemsize for stride in array.strides]
    return Tensor(array.ravel(), array.shape, strides, type_name=type_name)


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def integers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tensor(value: Tensor, key: str) -> bytes:
    """A call of ``_rebuild_tensor_v2`` on a persistent storage."""
    items = len(value.storage) if value.claimed_items is None else value.claimed_items
    storage = b"(" + text("storage") + name("torch", value.type_name) + text(value.key or key)
    storage += text("cpu") + integer(items) + b"Nt" + b"Q"
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = storage + integer(value.offset) + integers(value.shape) + integers(value.strides)
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"\x89" + hooks + b"tR"


def state_pickle(entries: Mapping[str, bytes]) -> bytes:
    """An ``OrderedDict`` of already written values, with the metadata PyTorch attaches."""
    items = b"".join(text(key) + value for key, value in entries.items())
    metadata = b"}" + text("_metadata") + name("collections", "OrderedDict") + b")R" + b"sb"
    return (
        b"\x80\x02" + name("collections", "OrderedDict") + b")R(" + items + b"u" + metadata + b"."
    )


def _storages(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {value.key or str(i): value.storage for i, value in enumerate(tensors.values())}


def _state(tensors: Mapping[str, Tensor]) -> bytes:
    return state_pickle({k: tensor(v, str(i)) for i, (k, v) in enumerate(tensors.items())})


def legacy_file(tensors: Mapping[str, Tensor], state: bytes | None = None) -> bytes:
    """The format before PyTorch 1.6; `state` replaces the pickle of the state dict."""
    storages = _storages(tensors)
    parts = [MAGIC, VERSION, SYSTEM, state or _state(tensors), pickle.dumps(list(storages), 2)]
    for values in storages.values():
        parts += [struct.pack("<q", len(values)), values.tobytes()]
    return b"".join(parts)


def zip_file(
    tensors: Mapping[str, Tensor], state: bytes | None = None, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The format since PyTorch 1.6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("weights/data.pkl", state or _state(tensors))
        archive.writestr("weights/byteorder", "little")
        for key, values in _storages(tensors).items():
            archive.writestr(f"weights/data/{key}", values.tobytes())
    return stream.getvalue()

"""The tensors of a PyTorch checkpoint, read without PyTorch and without running anything in it."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spice_keras.errors import UserError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# Python hashes nested tuples by recursion, unguarded: as a key, a deep one would end the process.
_HASHABLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
_MOST_HASHABLES = 20_000

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _NotTensors(Exception):
    """The file holds something other than tensors; the message says what."""


class _StorageType(NamedTuple):
    """Stands for a class such as ``torch.FloatStorage``."""

    dtype: str


class _Storage(NamedTuple):
    """A run of numbers, kept elsewhere in the file under a key."""

    key: str
    dtype: str
    items: int


class _StridedTensor(NamedTuple):
    """A view of a storage; offset and strides count items, as in PyTorch."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorRebuilder:
    """Stands for ``torch._utils._rebuild_tensor_v2``."""

    # Without attributes of its own, a pickle has nothing to overwrite.
    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
    ) -> _StridedTensor:
        if not isinstance(storage, _Storage):
            raise _NotTensors("a tensor without a storage")
        tensor = _StridedTensor(storage, _size(offset), _sizes(shape), _sizes(strides))
        if len(tensor.shape) != len(tensor.strides):
            raise _NotTensors("a tensor whose strides do not fit its shape")
        return tensor


class _TensorUnpickler(pickle.Unpickler):
    """Admits dictionaries, numbers, strings and tensors: no other name is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for one of the few admitted names."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _TensorRebuilder()
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise _NotTensors(f"{module}.{name}, which is not a tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage a tensor refers to."""
        match pid:
            case ("storage", _StorageType(dtype), str(key), _, items):
                return _Storage(key, dtype, _size(items))
            case ("storage", _StorageType(dtype), str(key), _, items, None):
                return _Storage(key, dtype, _size(items))
        raise _NotTensors("a reference to something other than a storage")


# Finds the numbers of a storage.
_Reader = Callable[[_Storage], np.ndarray]


def read_torch_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a ``.pth`` file: its tensors, and nothing else.

    Both formats of ``torch.save`` are read. Only names of tensors and of their storages are
    admitted in the pickle; any other content refuses the file before it could run.

    Args:
        path: The file.

    Returns:
        The tensors by name, as read-only arrays of the stored type and shape.

    Raises:
        UserError: If the file cannot be read, is damaged, or holds anything but named tensors.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the weights {path}: {error.strerror}.") from error
    try:
        state, storages = _read_zip(data) if data[:2] == b"PK" else _read_legacy(data)
        return _resolve(state, storages)
    except _NotTensors as error:
        raise UserError(
            f"{path} is not a file of tensors: it holds {error}. Nothing of it was run. "
            "Use a state dict written by `torch.save(model.state_dict(), path)`."
        ) from error
    except Exception as error:
        # A damaged pickle can fail in any way; every one of them is the file's fault.
        raise UserError(
            f"{path} is damaged or not a PyTorch state dict ({type(error).__name__}: {error}). "
            "Fetch it again."
        ) from error


def _read_legacy(data: bytes) -> tuple[Any, _Reader]:
    """The format before PyTorch 1.6: five pickles, then each storage behind its length."""
    stream = io.BytesIO(data)
    if _unpickle(stream) != _MAGIC_NUMBER or _unpickle(stream) != _LEGACY_PROTOCOL:
        raise _NotTensors("something other than a PyTorch checkpoint")
    system = _unpickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _NotTensors("big-endian numbers")
    state, keys = _unpickle(stream), _unpickle(stream)
    storages = {tensor.storage.key: tensor.storage for tensor in _tensors(state).values()}
    arrays = {}
    for key in keys:
        storage = storages[key]
        if int.from_bytes(stream.read(8), "little") != storage.items:
            raise _NotTensors("a storage whose length contradicts its tensor's")
        arrays[storage] = np.frombuffer(data, storage.dtype, storage.items, stream.tell())
        stream.seek(arrays[storage].nbytes, io.SEEK_CUR)
    return state, arrays.__getitem__


def _read_zip(data: bytes) -> tuple[Any, _Reader]:
    """The format since PyTorch 1.6: an uncompressed archive of one pickle and its storages."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise _NotTensors("compressed parts")
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _NotTensors("something other than a PyTorch checkpoint")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise _NotTensors("big-endian numbers")

    @cache
    def read(storage: _Storage) -> np.ndarray:
        values = np.frombuffer(archive.read(f"{root}data/{storage.key}"), storage.dtype)
        if len(values) != storage.items:
            raise _NotTensors("a storage whose length contradicts its tensor's")
        return values

    return _unpickle(io.BytesIO(archive.read(pickles[0]))), read


def _unpickle(stream: io.BytesIO) -> Any:
    """Runs one pickle of the stream and leaves the stream behind it."""
    start, size, hashables = stream.tell(), len(stream.getbuffer()), 0
    for opcode, argument, _ in pickletools.genops(stream):
        hashables += opcode.name in _HASHABLES
        if hashables > _MOST_HASHABLES:
            raise _NotTensors("more nested values than a state dict has")
        # A slot of the memo beyond the file's own length can only serve to exhaust the memory.
        if opcode.name == "LONG_BINPUT" and (argument or 0) > size:
            raise _NotTensors("a pickle that claims more memory than it can need")
    end = stream.tell()
    return _TensorUnpickler(io.BytesIO(stream.getvalue()[start:end])).load()


def _tensors(state: Any) -> dict[str, _StridedTensor]:
    """The entries of a state dict, all of them tensors."""
    if not isinstance(state, dict):
        raise _NotTensors(f"an object of type {type(state).__name__} and no state dict")
    # Asked of the type: the instance's own attributes come from the file.
    items = type(state).items(state)
    for name, value in items:
        if not isinstance(name, str) or not isinstance(value, _StridedTensor):
            raise _NotTensors(f"an entry of type {type(value).__name__} that is not a named tensor")
    return dict(items)


def _resolve(state: Any, read: _Reader) -> dict[str, np.ndarray]:
    """Turns references to storages into arrays, refusing any that would leave its storage."""
    arrays = {}
    for name, tensor in _tensors(state).items():
        values = read(tensor.storage)
        items = math.prod(tensor.shape)
        steps = zip(tensor.shape, tensor.strides, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
        if items > len(values) or (items and last >= len(values)):
            raise _NotTensors(f"a tensor that reaches beyond its storage, {name[:80]!r}")
        arrays[name] = _view(values, tensor) if items else np.empty(tensor.shape, values.dtype)
    return arrays


def _view(values: np.ndarray, tensor: _StridedTensor) -> np.ndarray:
    strides = tuple(stride * values.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _NotTensors("a size or stride that is not a natural number")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple):
        raise _NotTensors("a shape that is not a tuple")
    return tuple(_size(value) for value in values)

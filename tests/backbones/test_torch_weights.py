"""PyTorch checkpoints: the tensors as they are, and nothing else from any file."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.backbones.torch_weights import read_torch_tensors
from spice_keras.errors import UserError
from tests.reference import torch_files
from tests.reference.torch_files import Tensor, dense, legacy_file, zip_file

_WRITERS = pytest.mark.parametrize("write", [legacy_file, zip_file])
_Writer = Callable[[Mapping[str, Tensor]], bytes]
_SIX = np.arange(6, dtype=np.float32)


def _read(folder: Path, data: bytes) -> dict[str, np.ndarray]:
    path = folder / "weights.pth"
    path.write_bytes(data)
    return read_torch_tensors(path)


@_WRITERS
@pytest.mark.parametrize(
    ("type_name", "dtype"),
    [
        ("FloatStorage", "float32"),
        ("DoubleStorage", "float64"),
        ("HalfStorage", "float16"),
        ("LongStorage", "int64"),
        ("IntStorage", "int32"),
        ("ShortStorage", "int16"),
        ("CharStorage", "int8"),
        ("ByteStorage", "uint8"),
        ("BoolStorage", "bool"),
    ],
)
def test_every_type(tmp_path: Path, write: _Writer, type_name: str, dtype: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    tensors = _read(tmp_path, write({"a.weight": dense(values, type_name)}))
    assert list(tensors) == ["a.weight"]
    assert tensors["a.weight"].dtype == values.dtype
    np.testing.assert_array_equal(tensors["a.weight"], values)


@_WRITERS
def test_scalars_empty_tensors_and_order(tmp_path: Path, write: _Writer) -> None:
    tensors = _read(
        tmp_path,
        write(
            {
                "z": Tensor(np.array([7], np.int64), (), (), type_name="LongStorage"),
                "empty": Tensor(np.zeros(0, np.float32), (0, 3), (3, 1)),
                "a": dense(_SIX),
            }
        ),
    )
    assert list(tensors) == ["z", "empty", "a"]
    assert tensors["z"].shape == ()
    assert tensors["z"] == 7
    assert tensors["empty"].shape == (0, 3)


@given(data=st.data(), order=st.permutations(range(3)), offset=st.integers(0, 5))
def test_strides_and_offsets(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: list[int], offset: int
) -> None:
    """A permuted part of a larger storage comes back as NumPy would cut it."""
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    storage = np.arange(offset + int(np.prod(shape)), dtype=np.float32)
    whole = storage[offset:].reshape(shape).transpose(order)
    strides = [stride // 4 for stride in whole.strides]
    tensor = Tensor(storage, whole.shape, strides, offset)
    folder = tmp_path_factory.mktemp("weights")
    np.testing.assert_array_equal(_read(folder, legacy_file({"x": tensor}))["x"], whole)
    np.testing.assert_array_equal(_read(folder, zip_file({"x": tensor}))["x"], whole)


@_WRITERS
def test_tensors_share_a_storage(tmp_path: Path, write: _Writer) -> None:
    halves = {
        "left": Tensor(_SIX, (3,), (1,), 0, key="both"),
        "right": Tensor(_SIX, (3,), (1,), 3, key="both"),
    }
    tensors = _read(tmp_path, write(halves))
    np.testing.assert_array_equal(tensors["left"], [0, 1, 2])
    np.testing.assert_array_equal(tensors["right"], [3, 4, 5])
    assert not tensors["left"].flags.writeable


class _Call:
    """Pickles as a call of any function: what an attacker writes."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _hostile_states(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    text, name = torch_files.text, torch_files.name
    ordered, rebuild = (
        name("collections", "OrderedDict"),
        name("torch._utils", "_rebuild_tensor_v2"),
    )
    return {
        "os.system": pickle.dumps(_Call(os.system, command), 2),
        "os.system, newer protocol": pickle.dumps(_Call(os.system, command), 4),
        "builtins.eval": pickle.dumps(_Call(eval, code), 2),
        "builtins.exec": pickle.dumps({"weight": _Call(exec, code)}, 2),
        "getattr": b"\x80\x02"
        + name("builtins", "getattr")
        + name("os", "path")
        + text("join")
        + b"\x86R.",
        "instance": b"(" + text(command) + b"ios\nsystem\n.",
        "object": b"(" + name("os", "system") + text(command) + b"o.",
        "dotted name": b"\x80\x04" + text("torch") + text("FloatStorage.__class__") + b"\x93.",
        "nested numpy": torch_files.state_pickle(
            {"weight": name("numpy.core.multiarray", "_reconstruct") + b")R"}
        ),
        "torch, but no tensor": torch_files.state_pickle({"w": name("torch", "load") + b")R"}),
        "torch.storage": torch_files.state_pickle(
            {"w": name("torch.storage", "_load_from_bytes") + b")R"}
        ),
        "extension": b"\x80\x02\x82\x01.",
        "overwritten rebuilder": b"\x80\x02"
        + rebuild
        + b"N}"
        + text("__call__")
        + ordered
        + b"s\x86b.",
        "overwritten storage": b"\x80\x02"
        + name("torch", "FloatStorage")
        + b"N}"
        + text("dtype")
        + text("O")
        + b"s\x86b.",
        "overwritten dictionary": b"\x80\x02"
        + ordered
        + b"N}"
        + text("items")
        + rebuild
        + b"s\x86b.",
        "a list": pickle.dumps([1, 2], 2),
        "a number for a tensor": torch_files.state_pickle({"epoch": torch_files.integer(3)}),
        "a number for a name": pickle.dumps({1: 2}, 2),
        "reference to a module": b"\x80\x02" + text("os") + b"Q.",
        "huge memo": b"\x80\x02}r\xff\xff\xff\x7f.",
        "huge string": b"\x80\x02X\xff\xff\xff\x7f.",
        # Hashing it would overflow the stack of the interpreter itself.
        "deep key": b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    }


@_WRITERS
@pytest.mark.parametrize("attack", list(_hostile_states(Path("x"))))
def test_hostile_pickles_run_nothing(
    tmp_path: Path, write: Callable[..., bytes], attack: str
) -> None:
    marker = tmp_path / "was-here"
    state = _hostile_states(marker)[attack]
    with pytest.raises(UserError, match=r"weights\.pth"):
        _read(tmp_path, write({}, state))
    assert not marker.exists()
    # Nor does it change how the next file is read.
    np.testing.assert_array_equal(_read(tmp_path, write({"x": dense(_SIX)}))["x"], _SIX)


def test_the_attack_works_without_the_guard(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    marker = tmp_path / "was-here"
    pickle.loads(_hostile_states(marker)["builtins.eval"])
    assert marker.exists()


def test_attacks_in_the_other_pickles_of_a_file(tmp_path: Path) -> None:
    marker = tmp_path / "was-here"
    attack = _hostile_states(marker)["os.system"]
    rest = torch_files.state_pickle({})
    for data in (
        attack,
        torch_files.MAGIC + attack,
        torch_files.MAGIC + torch_files.VERSION + attack,
        torch_files.MAGIC + torch_files.VERSION + torch_files.SYSTEM + rest + attack,
    ):
        with pytest.raises(UserError, match=r"holds (os|posix)\.system, which is not a tensor"):
            _read(tmp_path, data)
    assert not marker.exists()


@_WRITERS
@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(_SIX, (7,), (1,)),
        Tensor(_SIX, (2,), (6,)),
        Tensor(_SIX, (1,), (1,), 6),
        Tensor(_SIX, (2, 3), (4, 1)),
        Tensor(_SIX, (10**12,), (0,)),
        Tensor(_SIX, (2**40, 2**40), (2**40, 1)),
        Tensor(_SIX, (-2,), (1,)),
        Tensor(_SIX, (2,), (-1,), 3),
        Tensor(_SIX, (2,), (1,), -1),
        Tensor(_SIX, (2, 3), (1,)),
        Tensor(_SIX, (6,), (1,), claimed_items=2**60),
        Tensor(_SIX, (6,), (1,), claimed_items=7),
        Tensor(_SIX, (6,), (1,), claimed_items=-6),
        Tensor(_SIX, (6,), (1,), type_name="DoubleStorage"),
        Tensor(_SIX, (6,), (1,), type_name="QInt8Storage"),
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_their_storage(
    tmp_path: Path, write: _Writer, tensor: Tensor
) -> None:
    with pytest.raises(UserError):
        _read(tmp_path, write({"x": tensor}))


def test_one_key_with_two_types(tmp_path: Path) -> None:
    both = {
        "a": Tensor(_SIX, (6,), (1,), key="k"),
        "b": Tensor(_SIX, (3,), (1,), key="k", type_name="DoubleStorage", claimed_items=3),
    }
    with pytest.raises(UserError):
        _read(tmp_path, legacy_file(both))


@_WRITERS
def test_truncated_files(tmp_path: Path, write: _Writer) -> None:
    data = write({"x": dense(_SIX), "y": dense(_SIX)})
    for length in range(0, len(data), 5):
        with pytest.raises(UserError):
            _read(tmp_path, data[:length])


@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files_end_in_a_message_or_in_tensors(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    data = bytearray(legacy_file({"x": dense(_SIX), "y": dense(_SIX)}))
    for position in generator.integers(0, len(data), 3):
        data[position] = generator.integers(0, 256)
    try:
        tensors = _read(tmp_path_factory.mktemp("weights"), bytes(data))
    except UserError:
        return
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())


def test_archives_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="other than a PyTorch checkpoint"):
        _read(tmp_path, _archive({"word/document.xml": b"<xml/>"}))
    two = {"a/data.pkl": torch_files.state_pickle({}), "b/data.pkl": b"."}
    with pytest.raises(UserError, match="other than a PyTorch checkpoint"):
        _read(tmp_path, _archive(two))
    big = {"a/data.pkl": torch_files.state_pickle({}), "a/byteorder": b"big"}
    with pytest.raises(UserError, match="big-endian"):
        _read(tmp_path, _archive(big))
    bomb = zip_file({"x": dense(np.zeros(10_000, np.float32))}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed"):
        _read(tmp_path, bomb)


def _archive(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return stream.getvalue()


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"PK", b"PK\x03\x04", b"\x80\x02K\x05."])
def test_files_of_another_kind(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match=r"weights\.pth"):
        _read(tmp_path, data)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read the weights .*none\.pth: No such file"):
        read_torch_tensors(tmp_path / "none.pth")

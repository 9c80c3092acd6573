"""The processor's abilities, and TensorFlow started the same way every time."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spice_keras import runtime as hardware
from spice_keras.augment.policies import build_policy
from spice_keras.runtime import (
    dtype_policy,
    has_bfloat16,
    peak_memory_bytes,
    processor_flags,
    start_tensorflow,
    tensorflow_session,
)


@pytest.fixture(autouse=True)
def _ask_again() -> Iterator[None]:
    processor_flags.cache_clear()
    yield
    processor_flags.cache_clear()


def _processor(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    def read(path: Path, **options: object) -> str:
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512_bf16 sse", True),
        ("amx_bf16", True),
        ("avx512f avx512_bf16x", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_off_the_flags(
    monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    _processor(monkeypatch, f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: amx_bf16\n")
    assert has_bfloat16() is expected
    assert dtype_policy("auto") == ("mixed_bfloat16" if expected else "float32")


@pytest.mark.parametrize("text", [None, "no flags here"])
def test_an_unknown_processor_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    _processor(monkeypatch, text)
    assert not has_bfloat16()
    assert dtype_policy("auto") == "float32"


def test_a_precision_that_is_asked_for_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: True)
    assert dtype_policy("float32") == "float32"
    assert dtype_policy("bfloat16") == "mixed_bfloat16"
    with pytest.raises(ValueError, match=r"one of auto, float32, bfloat16\. Received"):
        dtype_policy("float16")


def test_memory_is_counted_in_bytes() -> None:
    assert 20 * 2**20 < peak_memory_bytes() < 64 * 2**30


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tensorflow_is_started_repeatable_and_in_the_precision_asked_for(precision: str) -> None:
    import keras
    import tensorflow as tf

    before = keras.config.dtype_policy()
    try:
        start_tensorflow(precision=precision)
        assert keras.config.dtype_policy().name == dtype_policy(precision)
        # A graph that is summed in another order at each trace is not repeatable.
        assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
        with pytest.raises(RuntimeError, match="determinism"):  # it refuses unseeded draws
            tf.random.Generator.from_non_deterministic_state()
        # And yet every policy a configuration can name can be made.
        views = build_policy("kerascv")(tf.zeros([2, 8, 8, 3], tf.uint8), tf.constant([1, 2]))
        assert views.shape == (2, 8, 8, 3)
    finally:
        keras.config.set_dtype_policy(before)
        keras.config.enable_traceback_filtering()


@pytest.mark.parametrize("stated", [None, "ACTIVE"])
@pytest.mark.integration
def test_threads_of_a_run_wait_asleep_unless_told_otherwise(stated: str | None) -> None:
    # OpenMP reads the policy when scikit-learn loads it, so nothing may load that before.
    code = (
        "import os, sys, spice_keras.cli, spice_keras.pipeline as pipeline\n"
        "assert 'sklearn' not in sys.modules, 'loaded before it could be told'\n"
        "with pipeline.tensorflow_session():\n"
        "    print(os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if stated:
        environment["OMP_WAIT_POLICY"] = stated
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (stated or "PASSIVE")


_HELD_BACK = """
import os, sys
from spice_keras.runtime import stderr_held_back
with stderr_held_back():
    os.write(2, b"noise of native code\\n")
os.write(2, b"after\\n")
if len(sys.argv) > 1:
    with stderr_held_back():
        os.write(2, b"the reason\\n")
        raise RuntimeError("failed")
"""


@pytest.mark.parametrize("fails", [False, True])
def test_noise_is_held_back_but_not_the_reason_of_a_failure(fails: bool) -> None:
    command = [sys.executable, "-c", _HELD_BACK, *(["fail"] if fails else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "noise" not in done.stderr
    assert done.stderr.startswith("after\n")
    assert ("the reason" in done.stderr) is fails
    assert ("RuntimeError: failed" in done.stderr) is fails


_ALONE = """
import os, sys
from spice_keras.runtime import start_tensorflow_alone
start_tensorflow_alone()
import spice_keras.commands.predict, spice_keras.commands.serve
import spice_keras.serving.predict, spice_keras.serving.service
for package in ("keras", "sklearn", "matplotlib"):
    assert package not in sys.modules, package
assert "TF_USE_LEGACY_KERAS" not in os.environ
import keras
import tensorflow as tf
assert tf.keras.Model is keras.Model, "whoever asks for Keras later gets the usual one"
"""


def test_what_only_loads_a_model_starts_without_keras() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_freed_memory_goes_back_to_the_system() -> None:
    """Many small blocks, which the C library keeps to itself until it is asked."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads /proc")
    script = (
        "from spice_keras.runtime import release_memory\n"
        "def pages(): return int(open('/proc/self/statm').read().split()[1])\n"
        "kept = [bytearray(50_000) for _ in range(4_000)]\n"
        "last = bytearray(50_000)\n"
        "full = pages()\n"
        "del kept\n"
        "release_memory()\n"
        "print(full - pages())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * os.sysconf("SC_PAGE_SIZE") > 150_000_000


def _settings() -> dict[str, object]:
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    options = tf.config.optimizer.get_experimental_options()
    return {
        "policy": keras.config.dtype_policy().name,
        "filtering": keras.config.is_traceback_filtering_enabled(),
        "level": tf.get_logger().level,
        "arithmetic": options.get("arithmetic_optimization", True),
        "deterministic": is_op_determinism_enabled(),
        "environment": {name: os.environ.get(name) for name in hardware._ENVIRONMENT},
    }


@pytest.mark.parametrize("fails", [False, True])
def test_a_session_leaves_the_process_as_it_was(fails: bool) -> None:
    import tensorflow as tf

    before = _settings()
    generator = None if before["deterministic"] else tf.random.get_global_generator()
    inside: dict[str, object] = {}
    with contextlib.suppress(ZeroDivisionError), tensorflow_session(precision="bfloat16"):
        inside = _settings()
        _ = 1 // (not fails)
    assert inside["policy"] == "mixed_bfloat16"
    assert (inside["filtering"], inside["level"]) == (False, logging.ERROR)
    assert (inside["deterministic"], inside["arithmetic"]) == (True, False)
    assert _settings() == before
    if generator is not None:
        assert tf.random.get_global_generator() is generator


def test_a_session_in_a_new_process_leaves_its_environment() -> None:
    code = (
        "import os\n"
        "from spice_keras.runtime import tensorflow_session\n"
        "with tensorflow_session(precision='float32'):\n"
        "    inside = os.environ['OMP_WAIT_POLICY']\n"
        "print(inside, 'OMP_WAIT_POLICY' in os.environ)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "PASSIVE False"

"""What the machine offers, and how TensorFlow is started on it without its noise."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


@cache
def processor_flags() -> frozenset[str]:
    """Return the abilities of the processor in Linux's names; none where they are unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.split())
    return frozenset()


def has_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 in hardware (AMX or AVX-512 BF16)."""
    return not _BFLOAT16_FLAGS.isdisjoint(processor_flags())


def dtype_policy(precision: str) -> str:
    """Name the Keras dtype policy of a precision.

    Args:
        precision: `auto` (bfloat16 where the processor has it), `float32` or `bfloat16`.

    Returns:
        `float32` or `mixed_bfloat16`.

    Raises:
        ValueError: For any other precision.
    """
    if precision not in {"auto", "float32", "bfloat16"}:
        raise ValueError(
            f"`precision` must be one of auto, float32, bfloat16. Received: precision={precision!r}"
        )
    fast = precision == "bfloat16" or (precision == "auto" and has_bfloat16())
    return "mixed_bfloat16" if fast else "float32"


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Hold back what native code writes to standard error; show it if the block fails."""
    try:
        number = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # standard error is no real file (a test's)
        yield
        return
    sys.stderr.flush()
    kept = os.dup(number)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), number)
        try:
            yield
        except BaseException:
            os.dup2(kept, number)
            held.seek(0)
            os.write(number, held.read())
            raise
        finally:
            os.dup2(kept, number)
            os.close(kept)


def start_tensorflow(*, precision: str = "auto", deterministic: bool = True) -> None:
    """Import TensorFlow and Keras quietly and set the run's precision and determinism.

    Call it before scikit-learn is imported, whose threads it also sets to wait asleep.

    Args:
        precision: See `dtype_policy`.
        deterministic: Ask TensorFlow for repeatable kernels, so that the same seed gives the
            same bits on the same machine.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # OpenMP, on which scikit-learn and FAISS run, waits for its slowest thread in a loop. Where
    # another program holds a core, t-SNE took five times as long so. Read when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The Python protobuf and absl layers log before they read any setting: hold the file
    # descriptor itself while they load.
    with _stderr_held_back():
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    keras.config.disable_traceback_filtering()
    keras.config.set_dtype_policy(dtype_policy(precision))
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        # KerasCV's layers ask for it when they are made, even where they then draw from another.
        tf.random.set_global_generator(tf.random.Generator.from_seed(0))
        # It sums chains of additions in an order that differs from one trace of the same graph to
        # the next (seen with TensorFlow 2.21: the last bit of a logged loss in one fit in six).
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def release_memory() -> None:
    """Give memory that a finished stage no longer needs back to the system.

    What one stage frees otherwise stays with the process, and the peaks of the stages add up.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_memory_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes (0 where unknown)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

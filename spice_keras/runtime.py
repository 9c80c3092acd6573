"""What the machine offers, and how TensorFlow is started on it without its noise."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from spice_keras.errors import UserError

_BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    # OpenMP, on which scikit-learn and FAISS run, waits for its slowest thread in a loop. With
    # another program on a core, t-SNE took five times as long so. Read when it is loaded.
    "OMP_WAIT_POLICY": "PASSIVE",
}
WITHOUT_KERAS = {"TF_USE_LEGACY_KERAS": "1"}
"""Environment in which TensorFlow leaves the import of Keras to whoever asks for it.

Told that it is to use the older Keras, it looks for that alone. A SavedModel needs neither, and
Keras imports scikit-learn and Matplotlib: 2.7 s until TensorFlow 2.21 is there, in place of 4.5.
"""


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
def stderr_held_back() -> Iterator[None]:
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


def refuse_other_backend() -> None:
    """Refuse to go on if Keras runs, or would run, on another backend than TensorFlow.

    Nothing is imported to find out.

    Raises:
        UserError: With the place that names the other backend.
    """
    named = _named_backend()
    if named is not None and named[0] != "tensorflow":
        backend, place = named
        raise UserError(
            "spice_keras needs Keras on TensorFlow: its data pipelines, training steps and "
            f"SavedModels are TensorFlow's. Received: the backend {backend!r}, {place}. Set the "
            "environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )


def _named_backend() -> tuple[str, str] | None:
    """Keras's backend and what says so; None if nothing does, which means TensorFlow."""
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend(), "with which Keras was already imported"
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "from the environment variable KERAS_BACKEND"
    try:
        path = _keras_folder() / "keras.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    backend = settings.get("backend") if isinstance(settings, dict) else None
    return (str(backend), f"from {path}") if backend else None


def _keras_folder() -> Path:
    """The folder of Keras's settings, found as Keras finds it."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"])
    home = os.path.expanduser("~")  # unlike Path.home, no error without a home
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"


def start_tensorflow(*, precision: str = "auto", deterministic: bool = True) -> None:
    """Import TensorFlow and Keras quietly and set the run's precision and determinism.

    The settings are those of the whole process and stay: for a command that owns its process.
    In a process of somebody else use `tensorflow_session`. Call it before scikit-learn is
    imported, whose threads it also sets to wait asleep.

    Args:
        precision: See `dtype_policy`.
        deterministic: Ask TensorFlow for repeatable kernels, so that the same seed gives the
            same bits on the same machine.

    Raises:
        UserError: If Keras runs on another backend than TensorFlow.
    """
    refuse_other_backend()
    _import_quietly("keras", "tensorflow")
    _configure(precision, deterministic)


def start_tensorflow_alone() -> None:
    """Import TensorFlow quietly and without Keras, for a command that only loads SavedModels.

    Raises:
        UserError: If Keras is set to run on another backend than TensorFlow.
    """
    refuse_other_backend()
    before = {name: os.environ.get(name) for name in WITHOUT_KERAS}
    os.environ.update(WITHOUT_KERAS)
    try:
        _import_quietly("tensorflow")
    finally:
        _put_environment_back(before)
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def tensorflow_session(
    *,
    precision: str = "auto",
    deterministic: bool = True,
    first: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Start TensorFlow for a block, and leave the process as it was found.

    Put back are Keras's dtype policy, floatx, image data format and filtering of tracebacks, the
    level of TensorFlow's logger, the graph optimizer's options, op determinism, the global random
    generator, and the environment variables. What TensorFlow read of these variables when it was
    first imported stays, and so does the import.

    Args:
        precision: See `dtype_policy`.
        deterministic: Ask TensorFlow for repeatable kernels within the block.
        first: Is called once TensorFlow is imported, before anything asks it for a device.

    Yields:
        Nothing; the settings of `start_tensorflow` hold within the block.

    Raises:
        UserError: If Keras runs on another backend than TensorFlow.

    Example:
        >>> import keras
        >>> with tensorflow_session(precision="bfloat16"):
        ...     keras.config.dtype_policy().name
        'mixed_bfloat16'
        >>> keras.config.dtype_policy().name
        'float32'
    """
    refuse_other_backend()
    environment = {name: os.environ.get(name) for name in _ENVIRONMENT}
    try:
        _import_quietly("keras", "tensorflow")
        if first is not None:
            first()
        with settings_put_back(), _imports_set_aside():
            _configure(precision, deterministic)
            yield
    finally:
        _put_environment_back(environment)


def _put_environment_back(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _imports_set_aside() -> Iterator[None]:
    """Leave all that is there out of the searches for garbage within the block.

    What TensorFlow's import makes takes half a second to walk through, after every stage.
    """
    if gc.get_freeze_count():  # the caller has done so
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def settings_put_back() -> Iterator[None]:
    """Leave TensorFlow's and Keras's settings as they are now, whatever the block makes of them.

    Yields:
        Nothing; `start_tensorflow` within the block holds to its end.
    """
    settings = _settings()
    try:
        yield
    finally:
        _put_back(settings)


def _settings() -> dict[str, Any]:
    """What `_configure` changes, as it is now."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    deterministic = is_op_determinism_enabled()
    options = tf.config.optimizer.get_experimental_options()
    return {
        "policy": keras.config.dtype_policy(),
        "floatx": keras.config.floatx(),
        "layout": keras.config.image_data_format(),
        "filtering": keras.config.is_traceback_filtering_enabled(),
        "level": tf.get_logger().level,
        # Not set is on.
        "arithmetic": options.get("arithmetic_optimization", True),
        "deterministic": deterministic,
        # With determinism TensorFlow makes no generator of its own accord: there may be none.
        "generator": None if deterministic else tf.random.get_global_generator(),
    }


def _put_back(settings: dict[str, Any]) -> None:
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism

    keras.config.set_floatx(settings["floatx"])
    keras.config.set_image_data_format(settings["layout"])
    keras.config.set_dtype_policy(settings["policy"])
    if settings["filtering"]:
        keras.config.enable_traceback_filtering()
    tf.get_logger().setLevel(settings["level"])
    tf.config.optimizer.set_experimental_options(
        {"arithmetic_optimization": settings["arithmetic"]}
    )
    if not settings["deterministic"]:
        # TensorFlow has no public name for it; Keras reads the same module.
        disable_op_determinism()
        tf.random.set_global_generator(settings["generator"])


def _import_quietly(*packages: str) -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The Python protobuf and absl layers log before they read any setting: hold the file
    # descriptor itself while they load.
    with stderr_held_back():
        for package in packages:
            importlib.import_module(package)


def _configure(precision: str, deterministic: bool) -> None:
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    keras.config.disable_traceback_filtering()
    # A keras.json may name others, for other programs.
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
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
    forget_kernels()
    trim_heap()


def forget_kernels() -> None:
    """Let go of what TensorFlow keeps of operations and functions that were once called.

    It keeps the kernels of a function that nobody holds any more, a quarter of a MiB for each model
    that was trained. Those of a function that is called again are made again.
    """
    if "tensorflow" not in sys.modules:
        return
    from tensorflow.python.eager import context

    with contextlib.suppress(AttributeError):  # it has no public door
        context.context().clear_kernel_cache()


def trim_heap() -> None:
    """Give freed memory back to the system, where the C library is glibc."""
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

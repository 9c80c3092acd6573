"""Processes that hold one contender each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

Work = Callable[[], Any]
"""One turn: always the same amount of work, finished when the call returns."""

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Contender:
    """One way to do the work, in a process of its own.

    Attributes:
        name: What the tables call it.
        build: A function of a module (it travels to the process by name) that prepares
            everything and returns the turn.
        options: Its keyword arguments.
        share: Part of the work that a turn does, in (0, 1]; the time is divided by it.
        items: Things a turn works through, where it is not the number of all.
    """

    name: str
    build: Callable[..., Work]
    options: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    items: float | None = None


class Seconds(NamedTuple):
    """What a turn took.

    Attributes:
        wall: By the clock.
        processor: Of all threads of the process together; other work on the machine hardly
            changes it.
    """

    wall: float
    processor: float


class Unavailable(RuntimeError):
    """A contender needs a library that is not installed."""


class Worker:
    """A process that holds one contender and takes a turn when asked.

    Args:
        contender: What it runs.

    Raises:
        Unavailable: If a library is missing.
    """

    def __init__(self, contender: Contender) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        arguments = (other, contender.build, dict(contender.options))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def turn(self) -> Seconds:
        """Take a turn."""
        self._pipe.send("turn")
        return Seconds(*self._receive())

    def close(self) -> None:
        """Let the process clean up and end."""
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError as error:
            raise RuntimeError("A worker ended without a word: is the memory enough?") from error
        if kind == "missing":
            raise Unavailable(value)
        if kind == "failed":
            raise RuntimeError(value)
        return value


def _serve(pipe: Connection, build: Callable[..., Work], options: dict[str, Any]) -> None:
    """What a worker does: prepare, then a turn for each message."""
    try:
        # Whatever the contender writes goes with it.
        with tempfile.TemporaryDirectory() as tempfile.tempdir:
            work = build(**options)
            pipe.send(("ready", None))
            while pipe.recv() == "turn":
                begin, busy = time.perf_counter(), time.process_time()
                work()
                taken = (time.perf_counter() - begin, time.process_time() - busy)
                pipe.send(("seconds", taken))
    except EOFError:
        return
    except ModuleNotFoundError as error:
        pipe.send(("missing", f"{error.name} is not installed"))
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a process of its own and return what it returns.

    Args:
        function: Travels by name.
        *arguments: Its arguments.

    Returns:
        Its result.

    Raises:
        Unavailable: If a library is missing there.
    """
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_answer, args=(other, function, arguments), daemon=True)
    process.start()
    other.close()
    try:
        kind, value = pipe.recv()
    finally:
        process.join()
        pipe.close()
    if kind == "missing":
        raise Unavailable(value)
    if kind == "failed":
        raise RuntimeError(value)
    return value


def _answer(pipe: Connection, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        pipe.send(("value", function(*arguments)))
    except ModuleNotFoundError as error:
        pipe.send(("missing", f"{error.name} is not installed"))
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@contextlib.contextmanager
def threads_limited(threads: int | None) -> Iterator[None]:
    """Processes started inside compute with so many threads; None leaves the choice to them."""
    kept = {name: os.environ.get(name) for name in _THREADS}
    if threads:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

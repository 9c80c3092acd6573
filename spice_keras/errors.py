"""What a user can cause: a mistake, exit code 2 at the command line; or the end of a process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class UserError(Exception):
    """Something in the user's input, files or options; its message says what to do next."""


class WorkerLost(UserError):
    """Another worker of the run ended before the run did."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end (SIGTERM); it ends as after Ctrl-C."""


# What SIGTERM and Ctrl-C have raised within the block of `termination_raises`.
_interruptions: list[type[KeyboardInterrupt]] = []


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` within a block, so that what is open is closed and saved.

    Within it, neither SIGTERM nor Ctrl-C can be lost: see `raise_if_interrupted`. In a thread that
    is not the main one, signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _raising(Terminated))}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _raising(KeyboardInterrupt))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _interruptions.clear()


def _raising(error: type[KeyboardInterrupt]) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        _interruptions.append(error)
        raise error

    return stop


def raise_if_interrupted() -> None:
    """Raise again what a signal raised, if it was lost.

    Python drops an exception that is raised within `__del__` or the callback of a weak reference.
    Long work asks here after each step, so that it does not go on to its end.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        Terminated: After SIGTERM.
    """
    if _interruptions and threading.current_thread() is threading.main_thread():
        raise _interruptions.pop()

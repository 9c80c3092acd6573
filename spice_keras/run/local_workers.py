"""Several workers on this machine: the same command in processes that know of each other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from spice_keras.errors import Terminated, UserError
from spice_keras.run.cluster import VARIABLE

_POLL, _GRACE = 0.1, 20.0  # seconds


def run_local_workers(command: Sequence[str], workers: int, logs: Path) -> int:
    """Run a command as several workers, and wait for all of them.

    Each gets TF_CONFIG with free ports of the loopback interface. The chief writes to this
    process's standard output and error, worker k to `worker-k.log`. If one ends badly the others
    are ended too. SIGINT and SIGTERM are passed on.

    Args:
        command: The program and its arguments.
        workers: How many, at least 2.
        logs: The folder of the logs, made if it is not there.

    Returns:
        The exit code of the worker that ended badly first, 128 + N for signal N; 0 if none did.

    Raises:
        UserError: If the command cannot be started.
    """
    logs.mkdir(parents=True, exist_ok=True)
    addresses = _free_addresses(workers)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for index in range(workers):
            processes.append(_start(command, addresses, index, logs))
        return _watch(processes)
    except KeyboardInterrupt as interruption:
        number = signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT
        _end(processes, number)
        raise
    finally:
        _end(processes, signal.SIGTERM)


def _free_addresses(count: int) -> list[str]:
    """Addresses that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            found.append(f"127.0.0.1:{held.getsockname()[1]}")
        return found


def _start(
    command: Sequence[str], addresses: Sequence[str], index: int, logs: Path
) -> subprocess.Popen[bytes]:
    task = {"type": "worker", "index": index}
    value = json.dumps({"cluster": {"worker": list(addresses)}, "task": task})
    environment = os.environ | {VARIABLE: value}
    with contextlib.ExitStack() as stack:
        log = None if index == 0 else stack.enter_context((logs / f"worker-{index}.log").open("wb"))
        try:
            # In a group of its own: Ctrl-C reaches the workers once, through this process.
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(
                f"{command[0]} cannot be started: {error.strerror or error}. Give the whole "
                "command after --, such as: spice launch -- spice run --strategy multiworker"
            ) from error


def _watch(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended, or one has ended badly and the others have followed."""
    while True:
        codes = [process.poll() for process in processes]
        bad = next((code for code in codes if code), None)
        if bad is None and None not in codes:
            return 0
        if bad is not None:
            # Those that are told why, over their lines, end by themselves and say so.
            _wait(processes, _GRACE)
            _end(processes, signal.SIGTERM)
            return _exit_code(bad)
        time.sleep(_POLL)


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _wait(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL)


def _end(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """End those that still run: by a signal, and if they do not heed it, at once."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)
    _wait(processes, _GRACE)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()

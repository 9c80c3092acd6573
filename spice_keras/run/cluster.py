"""The workers of a run on several hosts: TF_CONFIG, and the line between each and the chief.

TensorFlow waits without end for a worker that never starts, and says little of one that has ended.
So before TensorFlow opens its own ports, each worker dials the chief and says what it runs. Who
runs something else is refused. The connection stays open: the chief tells on it what is trained
next, and if one end closes, the process at that end has died.

Nothing but JSON is read from it. Like TensorFlow's own ports it belongs in a network of trusted
machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from spice_keras.config import RunConfig
from spice_keras.errors import UserError, WorkerLost
from spice_keras.run.configuration import flat_options, package_versions
from spice_keras.runtime import dtype_policy

VARIABLE, PATIENCE = "TF_CONFIG", "SPICE_WORKER_TIMEOUT"
"""Environment variables: the workers, and the seconds to wait for them."""
_DEFAULT_PATIENCE = 120.0
_TRY_AGAIN = 0.2  # seconds
_SOON = 5.0  # seconds, for what takes none
_LONGEST_LINE = 2**22
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a run, and which of them this process is.

    Attributes:
        workers: HOST:PORT of each, the chief first.
        index: The place of this process among them.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run directory."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Name a worker as messages do."""
        return f"{'the chief' if index == 0 else f'worker {index}'} ({self.workers[index]})"

    @classmethod
    def from_environment(cls) -> Self:
        """Read TF_CONFIG as TensorFlow defines it.

        Returns:
            The workers; a task of type `chief` comes first.

        Raises:
            UserError: If it is missing, or says something else.
        """
        text = os.environ.get(VARIABLE, "")
        if not text.strip():
            raise UserError(
                f"strategy=multiworker needs the environment variable {VARIABLE}, which lists the "
                f"workers and says which of them this is: {_EXAMPLE}. To try it on this machine: "
                "`spice launch --workers 2 -- spice run ...`. On one device: --strategy none."
            )
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"it is not JSON ({error})") from error
        return cls(*_workers_and_index(found))


def _wrong(why: str) -> UserError:
    return UserError(f"{VARIABLE} cannot be used: {why}. Expected, for example, {_EXAMPLE}.")


def _workers_and_index(found: Any) -> tuple[tuple[str, ...], int]:
    cluster = found.get("cluster") if isinstance(found, dict) else None
    if not isinstance(cluster, dict):
        raise _wrong('it has no "cluster"')
    others = sorted(set(cluster) - {"chief", "worker"})
    if others:
        raise _wrong(f"training takes only chief and worker tasks, and it lists {others}")
    jobs = {job: _addresses(cluster.get(job, [])) for job in ("chief", "worker")}
    workers = (*jobs["chief"], *jobs["worker"])
    if len(workers) < 2 or len(jobs["chief"]) > 1:
        raise _wrong("it must list two workers or more, and at most one chief")
    if len(set(workers)) < len(workers):
        raise _wrong("two workers have the same address")
    task = found.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if kind not in jobs or type(index) is not int:
        raise _wrong('"task" must have a type, chief or worker, and an index')
    if not 0 <= index < len(jobs[kind]):
        raise _wrong(
            f"task index {index} is out of range: there are {len(jobs[kind])} {kind} tasks"
        )
    return workers, index + (len(jobs["chief"]) if kind == "worker" else 0)


def _addresses(listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list):
        raise _wrong("the addresses of a job must be a list")
    for address in listed:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise _wrong(f"{address!r} is not HOST:PORT")
    return tuple(str(address) for address in listed)


def patience() -> float:
    """Return the seconds that workers wait for each other at the start.

    Raises:
        UserError: If the environment variable is not a positive number.
    """
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text) if text else _DEFAULT_PATIENCE
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise UserError(f"{PATIENCE} must be a number of seconds above 0. Received: {text!r}")
    return seconds


class _Line:
    """One connection: JSON objects, one a line."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        _notice_silence(connection)
        self._connection, self._file = connection, connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        with self._sending, contextlib.suppress(OSError):  # who is gone is noticed by the reader
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, within: float | None = None) -> dict[str, Any] | None:
        """The next message; None if the other end is gone, is none of ours, or says nothing."""
        try:
            self._connection.settimeout(within)
            message = json.loads(self._file.readline(_LONGEST_LINE))
            self._connection.settimeout(None)
        except (OSError, ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # which wakes a thread that reads
        self._connection.close()
        self._file.close()


def _notice_silence(connection: socket.socket) -> None:
    """Let the system notice within half a minute that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Company:
    """This process and the others, joined.

    Args:
        cluster: The workers.
        lines: The connections: the chief's to each worker, a worker's to the chief.
        given: What the chief told all at the start.
    """

    def __init__(self, cluster: Cluster, lines: Mapping[int, _Line], given: dict[str, Any]) -> None:
        self.cluster, self.given = cluster, given
        self._lines = dict(lines)
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._lost: str | None = None
        self._over = threading.Event()
        self._noticed = threading.Event()
        self._on_loss: Callable[[str], None] | None = None
        for index, line in self._lines.items():
            threading.Thread(target=self._listen, args=(index, line), daemon=True).start()

    def on_loss(self, act: Callable[[str], None]) -> None:
        """Have something done, in another thread, as soon as a worker is lost."""
        self._on_loss = act
        if self._lost is not None:
            act(self._lost)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to the other end of every line."""
        for line in self._lines.values():
            line.send(message)

    def next_message(self) -> dict[str, Any]:
        """Wait for what the chief says next.

        Raises:
            WorkerLost: If another process of the run has ended.
        """
        while True:
            try:
                # In short waits: a signal is answered between two of them.
                return self._messages.get(timeout=_TRY_AGAIN)
            except queue.Empty:
                if self._lost is not None:
                    raise WorkerLost(self._lost) from None

    def loss(self, wait: float) -> str | None:
        """Return which worker was lost, after waiting for such news; None if none was."""
        self._noticed.wait(wait)
        return self._lost

    def close(self, last: Mapping[str, Any]) -> None:
        """Send a last message, after which an end is no loss, and hang up."""
        self._over.set()
        self.tell(last)
        for line in self._lines.values():
            line.close()

    def _listen(self, index: int, line: _Line) -> None:
        with contextlib.closing(line):
            self._hear(index, line)

    def _hear(self, index: int, line: _Line) -> None:
        while (message := line.receive()) is not None:
            if "failed" in message:
                self._lose(str(message["failed"]))
                return
            self._messages.put(message)
            if message.get("over"):
                self._over.set()
                return
        self._lose(
            f"{self.cluster.name(index)} ended before the run did. Look at what it said "
            "last, then start all workers again with --resume: the run goes on from its last "
            "checkpoint."
        )

    def _lose(self, reason: str) -> None:
        if self._over.is_set() or self._lost is not None:
            return
        self._lost = reason
        if self.cluster.is_chief:
            self.tell({"failed": reason})
        self._noticed.set()
        if self._on_loss is not None:
            self._on_loss(reason)


@contextlib.contextmanager
def joined(config: RunConfig, commands: Collection[str], run_dir: Path) -> Iterator[Company | None]:
    """Run a block together with the other workers, if the configuration asks for them.

    Args:
        config: The configuration.
        commands: The commands whose stages run; those that train nothing need no workers.
        run_dir: The chief's run directory, which it tells the others.

    Yields:
        The company; None if this process is alone.

    Raises:
        UserError: If TF_CONFIG is wrong, a worker does not come, or runs something else.
    """
    if config.strategy != "multiworker" or not {"pretrain", "self", "semi"} & set(commands):
        yield None
        return
    cluster = Cluster.from_environment()
    given = {"run_dir": str(run_dir.resolve())}
    company = join(cluster, same_everywhere(config, commands), given)
    try:
        yield company
    except BaseException as error:
        what = str(error) if isinstance(error, UserError) else type(error).__name__
        company.close({"failed": f"{cluster.name(cluster.index)} ended: {what}"})
        raise
    company.close({"over": True})


def same_everywhere(config: RunConfig, commands: Collection[str]) -> dict[str, Any]:
    """Return what decides the result, so that workers can be compared: versions and options."""
    return {
        **package_versions("spice-keras", "tensorflow", "keras"),
        "computes in": dtype_policy(config.precision),
        "commands": sorted(commands),
        **flat_options(config.as_dict()),
    }


def join(cluster: Cluster, facts: Mapping[str, Any], given: Mapping[str, Any]) -> Company:
    """Meet the other workers, and see that all run the same.

    Args:
        cluster: The workers.
        facts: What has to be the same everywhere, as JSON.
        given: The chief's: what it tells all.

    Returns:
        The company.

    Raises:
        UserError: If a worker does not come, or runs something else.
    """
    facts = json.loads(json.dumps(facts))
    deadline = time.monotonic() + patience()
    if cluster.is_chief:
        return _gather(cluster, facts, dict(given), deadline)
    return _report(cluster, facts, deadline)


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """Listen at this process's own address until all have met; TensorFlow takes the port then."""
    port = int(cluster.workers[cluster.index].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(
            f"Port {port}, which {VARIABLE} gives {cluster.name(cluster.index)}, cannot be opened: "
            f"{error.strerror or error}. End what uses it, or name another port."
        ) from error
    with listener:
        listener.settimeout(_TRY_AGAIN)
        yield listener


def _gather(
    cluster: Cluster, facts: Mapping[str, Any], given: dict[str, Any], deadline: float
) -> Company:
    """The chief's part: wait for all, compare, and say that they may begin."""
    lines: dict[int, _Line] = {}
    with _listening(cluster) as listener:
        while len(lines) < len(cluster.workers) - 1:
            missing = [i for i in range(1, len(cluster.workers)) if i not in lines]
            if time.monotonic() > deadline:
                raise _refused(lines, _absent(cluster, missing))
            with contextlib.suppress(TimeoutError):
                line = _Line(listener.accept()[0])
                hello = line.receive(within=_SOON) or {}
                index = hello.get("worker")
                if index not in missing:  # a scan of ports, or a worker of another run
                    line.close()
                    continue
                lines[index] = line
                problem = _difference(cluster, index, facts, hello.get("facts"))
                problem = problem or _unreachable(cluster, index)
                if problem is not None:
                    raise _refused(lines, problem)
    for line in lines.values():
        line.send({"given": given})
    return Company(cluster, lines, given)


def _refused(lines: Mapping[int, _Line], problem: str) -> UserError:
    for line in lines.values():
        line.send({"failed": problem})
        line.close()
    return UserError(problem)


def _absent(cluster: Cluster, missing: list[int]) -> str:
    names = ", ".join(cluster.name(index) for index in missing)
    return (
        f"{names} did not come within {patience():g} seconds. Start the same command there, look "
        f"at the addresses in {VARIABLE}, or give them longer with {PATIENCE}=SECONDS."
    )


def _difference(cluster: Cluster, index: int, facts: Mapping[str, Any], theirs: Any) -> str | None:
    """Say how a worker differs from the chief; None if it does not."""
    theirs = theirs if isinstance(theirs, dict) else {}
    different = [name for name in sorted({*facts, *theirs}) if facts.get(name) != theirs.get(name)]
    if not different:
        return None
    said = "; ".join(f"{n}: {theirs.get(n)}, the chief's {facts.get(n)}" for n in different[:5])
    return (
        f"{cluster.name(index)} was refused, because it would compute something else ({said}). "
        "Install the same versions and give the same options everywhere."
    )


def _unreachable(cluster: Cluster, index: int) -> str | None:
    """Say if the address of a worker that has come is not its own: TensorFlow would wait there."""
    try:
        _dial(cluster.workers[index], _SOON).close()
    except OSError as error:
        return (
            f"{cluster.name(index)} has come, but nobody answers at that address ({error}). Give "
            f"{VARIABLE} the address under which the other hosts reach it."
        )
    return None


def _dial(address: str, timeout: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), timeout)
    if connection.getsockname() == connection.getpeername():  # a port that dialled itself
        connection.close()
        raise ConnectionRefusedError("nobody listens")
    return connection


def _report(cluster: Cluster, facts: Mapping[str, Any], deadline: float) -> Company:
    """A worker's part: dial the chief until it answers, and hear what it says."""
    with _listening(cluster):
        while True:
            try:
                remaining = max(deadline - time.monotonic(), _TRY_AGAIN)
                connection = _dial(cluster.workers[0], remaining)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError(_absent(cluster, [0])) from error
                time.sleep(_TRY_AGAIN)
        line = _Line(connection)
        line.send({"worker": cluster.index, "facts": dict(facts)})
        answer = line.receive()
    if answer is None or "failed" in answer:
        line.close()
    if answer is None:
        raise UserError(
            f"{cluster.name(0)} hung up before the run began. Look at what it said last."
        )
    if "failed" in answer:
        raise UserError(str(answer["failed"]))
    return Company(cluster, {0: line}, dict(answer.get("given", {})))

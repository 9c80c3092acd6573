"""One command at a time in a run directory: a lock of the operating system, and who holds it.

The lock is that of the open file `run.lock`. The system gives it up when the process ends, however
it ends, so that a crash never blocks a run. The file's text says who holds it, for people and for
messages; it is removed when the command is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from spice_keras.errors import UserError
from spice_keras.files import left_overs, lock_file, sweep_folder
from spice_keras.progress import Screen, silent_screen

LOCK = "run.lock"
_RUNS = Path("runs")


@dataclass(frozen=True)
class Holder:
    """Who holds a run directory.

    Attributes:
        host: Name of the machine.
        process: Number of the process there.
        command: What was typed.
        since: Local time, ISO 8601.
    """

    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    command: str = field(
        default_factory=lambda: shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    )
    since: str = field(
        default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds")
    )

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.process} on {self.host}, since {self.since})"

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Read who wrote a lock's text; None if it has none, or is damaged."""
        try:
            facts = json.loads(path.read_text("utf-8"))
            known = {name: str(facts[name]) for name in ("host", "command", "since")}
            return cls(process=int(facts["process"]), **known)
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass
class _Held:
    """A lock of this process: the open file, its thread, and how many blocks are in it."""

    number: int
    thread: int
    made_folder: bool
    depth: int = 0


_held: dict[Path, _Held] = {}


class FolderInUse(UserError):
    """Another command writes in the folder."""


@contextmanager
def run_lock(path: Path, screen: Screen | None = None) -> Iterator[None]:
    """Hold a run directory while a block writes in it; blocks of one thread may lie in another.

    Args:
        path: The folder, made if it is not there. If it is still empty after the block, it goes.
        screen: Is told of a holder that ended without giving the folder up.

    Raises:
        UserError: If another command holds it, or it cannot be written.
    """
    place = path.resolve()
    held = _held.get(place)
    if held is None:
        held = _held[place] = _acquire(path, screen or silent_screen())
    elif held.thread != threading.get_ident():
        raise FolderInUse(_in_use(path, Holder()))
    held.depth += 1
    try:
        yield
    finally:
        held.depth -= 1
        if not held.depth:
            _release(place)


def claim_run_dir(name: str) -> Path:
    """Take runs/NAME, or the first of runs/NAME-2, runs/NAME-3 that is free, for this process.

    Two commands that are started together take different folders. A folder that holds no more
    than what a killed command left of its first moments is free.

    Returns:
        The folder. It is held until the next `run_lock` of it ends, or `release_claims`.

    Raises:
        UserError: If no folder can be made there.
    """
    number = 1
    while True:
        path = _RUNS / (name if number == 1 else f"{name}-{number}")
        number += 1
        if path.exists() and not _was_left(path):
            continue
        try:
            held = _acquire(path, silent_screen(), anew=not path.exists())
        except (FolderInUse, FileExistsError):
            continue
        _held[path.resolve()] = held
        if is_unused(path):
            return path
        _release(path.resolve())


def free_run_dir(name: str) -> Path:
    """Return the folder that `claim_run_dir` would take now, and leave it as it is."""
    path, number = _RUNS / name, 2
    while path.exists() and not _was_left(path):
        path, number = _RUNS / f"{name}-{number}", number + 1
    return path


def _was_left(path: Path) -> bool:
    """Whether a folder holds what a command left that was killed in its first moments."""
    return path.is_dir() and is_unused(path) and any(path.iterdir())


def is_unused(path: Path) -> bool:
    """Tell whether a folder is empty, but for a lock and what killed writers left."""
    left = set(left_overs(path))
    return all(entry.name == LOCK or entry in left for entry in path.iterdir())


def release_claims() -> None:
    """Give up the folders that were claimed and never used."""
    for place in [place for place, held in _held.items() if not held.depth]:
        _release(place)


def _acquire(path: Path, screen: Screen, *, anew: bool = False) -> _Held:
    """Make the folder and take its lock.

    Raises:
        FileExistsError: If `anew`, and the folder is there by now.
        FolderInUse: If another process holds it.
        UserError: If it cannot be written.
    """
    try:
        made = _made(path, anew)
        number = _open_lock(path)
        stale = Holder.read(path / LOCK)
        if stale is not None:
            screen.say(f"{path} was left by {stale}, which ended without giving it up.")
        _sign(number)
    except OSError as error:
        if anew and isinstance(error, FileExistsError):
            raise
        raise UserError(
            f"The run directory {path} cannot be written: {error.strerror or error}. "
            "Name another with --run-dir."
        ) from error
    return _Held(number, threading.get_ident(), made)


def _sign(number: int) -> None:
    """Write into a lock who holds it."""
    try:
        os.ftruncate(number, 0)
        os.pwrite(number, (json.dumps(asdict(Holder()), indent=2) + "\n").encode(), 0)
    except OSError:
        os.close(number)
        raise


def _made(path: Path, anew: bool) -> bool:
    """Make a folder; whether it was not there before."""
    if path.exists() and not path.is_dir():
        raise UserError(f"The run directory {path} is a file; name a folder with --run-dir.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        if anew:
            raise
        return False
    return True


def _open_lock(path: Path) -> int:
    """Open the lock's file and take its lock, however often its last holder removes it."""
    while True:
        path.mkdir(exist_ok=True)
        number = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not lock_file(number):
                raise FolderInUse(_in_use(path, Holder.read(path / LOCK)))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), os.stat(path / LOCK)):
                    return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _in_use(path: Path, holder: Holder | None) -> str:
    return (
        f"{path} is in use: {holder or 'another command'} is writing in it. Wait until it has "
        "ended, or name another folder with --run-dir."
    )


def _release(place: Path) -> None:
    """Give a folder up; it goes if it was made for nothing."""
    held = _held.pop(place)
    with contextlib.suppress(OSError):
        (place / LOCK).unlink()
    os.close(held.number)
    if held.made_folder:
        with contextlib.suppress(OSError):
            sweep_folder(place)
            place.rmdir()

"""Damages inputs of every kind for an hour, and keeps those that end in anything but advice.

    make fuzz                                      an hour
    python -m tools.fuzz --minutes 5 --kind images one kind, for five minutes

Each input is read in a process of its own kind that is restarted after a crash or a hang. Inputs
that end in another error than one for a person, in a crash, or that take more than five seconds
lie in `fuzz-failures/` afterwards, with what happened beside them; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.fuzz.targets import RIGHT, TARGETS, mutated

_LONGEST = 5.0
_ROUND = 50  # inputs between two looks at the clock
_BEGINNING = 300.0  # seconds in which a process must have read its first, honest input
# Not forked: this process has threads of TensorFlow once it has made a SavedModel to damage.
_PROCESSES = multiprocessing.get_context("spawn")


def _work(kind: str, pipe: Connection) -> None:
    """Read inputs as they come, and say how each ended: "" if well."""
    faulthandler.disable()
    target = TARGETS[kind]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = Path(folder) / f"input{target.suffix}"
        path.write_bytes(target.seeds()[0])
        with contextlib.suppress(*RIGHT):
            target.read(path)  # what is imported and made once counts for no input
        pipe.send("")
        while True:
            path.write_bytes(pipe.recv_bytes())
            try:
                target.read(path)
                said = ""
            except RIGHT:
                said = ""
            except Exception:
                said = traceback.format_exc()
            if set(os.listdir(folder)) != {path.name}:
                said += f"\nfiles were left: {os.listdir(folder)}"
            pipe.send(said)


class _Reader:
    """A process that reads inputs of one kind, and is started again when it is lost."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._start()

    def _start(self) -> None:
        self._pipe, other = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_work, args=(self.kind, other), daemon=True)
        self._process.start()
        other.close()
        if not self._pipe.poll(_BEGINNING):
            raise RuntimeError(f"The process that reads {self.kind} does not begin.")
        self._pipe.recv()

    def read(self, data: bytes) -> str:
        """Read one input; what was wrong, or nothing."""
        self._pipe.send_bytes(data)
        began = time.monotonic()
        try:
            if self._pipe.poll(2 * _LONGEST):
                said: str = self._pipe.recv()
                late = time.monotonic() - began
                return said or (f"took {late:.1f} s" if late > _LONGEST else "")
            said = f"no answer after {2 * _LONGEST:.0f} s"
        except EOFError:
            self._process.join()
            said = f"the process ended with {self._process.exitcode}"
        self.stop()
        self._start()
        return said

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _fuzz(kind: str, seconds: float, seed: int, failures: Path) -> tuple[int, int]:
    """Damage inputs of one kind for a time; how many, and how many ended badly."""
    rng, pool, reader = np.random.default_rng(seed), TARGETS[kind].seeds(), _Reader(kind)
    end, tried, bad = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        for _ in range(_ROUND):
            data = mutated(pool[int(rng.integers(0, len(pool)))], rng, pool)
            tried += 1
            if said := reader.read(data):
                bad += 1
                failures.mkdir(exist_ok=True)
                path = failures / f"{kind}-{seed}-{tried}{TARGETS[kind].suffix}"
                path.write_bytes(data)
                path.with_suffix(".txt").write_text(said)
    reader.stop()
    return tried, bad


def main() -> int:
    """Fuzz all kinds for equal times, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--kind", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    asked = parser.parse_args()
    kinds = asked.kind or list(TARGETS)
    worst = 0
    for kind in kinds:
        seconds = 60 * asked.minutes / len(kinds)
        tried, bad = _fuzz(kind, seconds, asked.seed, asked.failures.absolute())
        worst = max(worst, bad)
        print(f"{kind}: {tried:,} inputs, {bad} ended badly (seed {asked.seed})", flush=True)  # noqa: T201
    return 1 if worst else 0


if __name__ == "__main__":
    raise SystemExit(main())

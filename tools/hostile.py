"""Sends ten thousand hostile requests to `spice serve` or `spice review`, over HTTP.

    python -m tools.hostile serve saved_models/NAME
    python -m tools.hostile review RUN --requests 20000

The server runs as a process of its own, as a user starts it. Every answer must be a refusal within
20 seconds: 4xx, or a closed connection for what is not a request. Afterwards the server must answer
an honest request, and its memory must not have grown by more than 32 MiB since the first thousand.
The exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import click

from tests.fuzz.requests import Door, hostile, review_door, service_door, status_of

_CLOSED = 0.1  # share of requests that may get no answer, because they are not requests
_LATE = -1  # no answer in time
_FIRST, _GROWTH = 1000, 32 * 2**20


def _memory(process: int) -> int:
    """Bytes of memory a process holds."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def _started(kind: str, target: str, said: list[str]) -> tuple[subprocess.Popen[str], Door, bytes]:
    """Start the server; its door, and a request that it must answer. What it says is kept."""
    options = ["--port", "0"] if kind == "serve" else ["--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spice_keras.cli", kind, target, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = process.stdout or ()
    for line in lines:
        found = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+)", line)
        if found:
            port, path = int(found[1]), found[2]
            break
    else:
        raise SystemExit(f"spice {kind} did not start")
    # A pipe that nobody reads fills up, and the server would wait for room instead of answering.
    threading.Thread(target=said.extend, args=(lines,), daemon=True).start()
    if kind == "serve":
        door = service_door(port, path.rpartition("/")[2])
    else:
        door = review_door(port, path.strip("/"))
    honest = f"GET {path} HTTP/1.1\r\nHost: {door.host}\r\nConnection: close\r\n\r\n"
    return process, door, honest.encode()


def main() -> int:
    """Send the requests and say how they ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["serve", "review"])
    parser.add_argument("target", help="saved_models/NAME, or a run")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    said: list[str] = []
    process, door, honest = _started(asked.kind, asked.target, said)
    draw, found, began = random.Random(asked.seed), Counter[int](), time.monotonic()
    early = 0
    try:
        for number in range(asked.requests):
            request = hostile(draw, door)
            try:
                status = status_of(request, door.port)
            except TimeoutError:
                status = _LATE
            if status and not 400 <= status < 500:
                click.echo(f"{status}: {request[:300]!r}")
            found[status] += 1
            if number == min(_FIRST, asked.requests // 2):
                early = _memory(process.pid)
        growth = _memory(process.pid) - early
        answers = status_of(honest, door.port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    seconds = time.monotonic() - began
    counts = dict(sorted(found.items()))
    click.echo(f"{asked.requests} requests in {seconds:.0f} s: {counts}")
    click.echo(
        f"memory {early / 2**20:.0f} MiB, later {growth / 2**20:+.1f} MiB; "
        f"then a request that is right: {answers}"
    )
    wrong = [s for s in found if s and not 400 <= s < 500]
    closed = found[0] > _CLOSED * asked.requests
    failed = bool(wrong) or closed or answers != 200 or growth > _GROWTH
    failed = failed or any("Traceback" in line for line in said)
    click.echo(f"FAILED: {''.join(said[-40:])}" if failed else "all refused")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Two Ray actors against one process: images a second of `spice embed`, in turns.

python -m benchmarks.engines FOLDER [--rounds 3] [--rows 64] [--size 96] [--workers 2]

FOLDER holds images. Each turn is the whole command in a process of its own. The rate leaves out the
start: it counts the shards after each worker's first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import machine
from benchmarks.harness import ratios


def turn(folder: Path, engine: list[str], rows: int, size: int, workers: int) -> dict[str, float]:
    """Seconds of the command, of its processes, and images a second once every worker runs."""
    out = Path(tempfile.mkdtemp(prefix="engines-")) / "out"
    command = [sys.executable, "-m", "spice_keras.cli", "embed", str(folder), str(out), "--quiet"]
    command += ["--rows", str(rows), "--size", str(size), *engine]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        shards = sorted(out.glob("shard-??????.json"), key=lambda path: path.stat().st_mtime_ns)
        times = [path.stat().st_mtime_ns / 1e9 for path in shards]
        images = sum(json.loads(path.read_text())["rows"] for path in shards[workers:])
    finally:
        shutil.rmtree(out.parent)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = images / (times[-1] - times[workers - 1])
    return {"whole": seconds, "processor": spent, "rate": rate}


def main() -> None:
    """Measure in turns, and print rates and their ratio."""
    parser = argparse.ArgumentParser(prog="benchmarks.engines", description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, default in (("rounds", 3), ("rows", 64), ("size", 96), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    engines = {
        "local": (["--engine", "local"], 1),
        "ray": (["--engine", "ray", "--workers", str(asked.workers)], asked.workers),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for number in range(asked.rounds):
        for name in list(engines)[:: 1 if number % 2 == 0 else -1]:
            engine, workers = engines[name]
            found[name].append(turn(asked.folder, engine, asked.rows, asked.size, workers))
            print(name, json.dumps(found[name][-1]), flush=True)
    for key in ("rate", "whole", "processor"):
        values = {name: [each[key] for each in turns] for name, turns in found.items()}
        of = ratios(values["local"], values["ray"])
        middle = {name: round(median(each), 1) for name, each in values.items()}
        print(f"{key}: {middle}; ray / local, by round: {of}")
    print(json.dumps(machine.describe()))


if __name__ == "__main__":
    main()
